"""Conversations: what was said, what is being answered, and what was read for it."""
