"""Parts of the pages of pipelines."""
