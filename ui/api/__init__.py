"""The HTTP API: OpenAI's chat route with documents, and collections, documents and conversations beside it."""
