"""The sensors: what is asked of Dagster (pending), and what Dagster has to tell (outcome)."""
