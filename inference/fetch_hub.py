"""Brings files of a model from the model hub: `python -m inference.fetch_hub REPOSITORY COMMIT FOLDER PATTERN ...`. Its last line says why not."""

import sys


def fetch(repository: str, commit: str, folder: str, *patterns: str) -> None:
    """Only files whose names are like one of the patterns. Exits with the reason where they can't be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        snapshot_download(repository, revision=commit, allow_patterns=list(patterns), local_dir=folder)
    except (HfHubHTTPError, OSError) as error:
        sys.exit((str(error).splitlines() or [type(error).__name__])[0])


if __name__ == "__main__":
    fetch(*sys.argv[1:])
