"""The domain of Hearth: what exists, what may happen to it, and the ports through which the rest is reached."""
