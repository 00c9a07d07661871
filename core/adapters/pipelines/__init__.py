"""What runs a pipeline's steps in a process of its own: one worker for each language. Started by `core.adapters.engine_local`."""
