"""Who calls, and what they may do: bearer tokens, the keys that they are checked with, tokens for dev mode."""
