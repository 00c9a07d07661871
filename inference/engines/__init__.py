"""Engines: one file per service and technology, loaded only when a model needs it."""
