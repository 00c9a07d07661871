"""Pipelines: their definitions, runs, artifacts and experiments."""
