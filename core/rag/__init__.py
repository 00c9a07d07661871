"""Documents: taking them in, cutting them, finding the passage that answers."""
