"""The sensors: what is asked of Dagster (pending), what Dagster has to tell (outcome), and what is wrong (reaper)."""
