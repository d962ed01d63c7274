"""The routes of 04, one module per group; each has a ``router``."""
