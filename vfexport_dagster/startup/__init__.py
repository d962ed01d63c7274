"""How soon a run begins: what leans on parts of Dagster and of Python that are not promised to stay.

``forking`` forks runs from a process that has imported everything (``preloaded``); ``run_coordinator``, which
``dagster.yaml`` names, looks into Dagster's run queue every half second. Each has a setting that switches it off, and
is off by itself with a minor version of Dagster that nobody has looked at (``switches``). Without either, runs begin
later and are as right.
"""
