"""How soon a run begins: what leans on parts of Dagster and of Python that are not promised to stay.

``forking`` forks runs from a process that has imported everything (``preloaded``); VFEXPORT_FORKED_RUNS switches it
off, and another minor version of Dagster does so by itself. ``run_coordinator`` looks into Dagster's run queue every
half second; ``dagster.yaml`` names it. Without either, runs begin later and are as right.
"""
