"""Models: the catalogue, the engines that run them, the lanes in front, a server that speaks the OpenAI protocol, and the client for any such server."""
