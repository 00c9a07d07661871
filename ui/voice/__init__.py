"""The voice page: push-to-talk and calls."""
