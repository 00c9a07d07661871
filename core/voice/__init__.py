"""Speaking and listening: what was said, what is answered aloud, and whose turn it is."""
