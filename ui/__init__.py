"""What people and programs touch: the chat page, the API, the command line."""
