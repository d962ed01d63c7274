"""What leans on parts of Dagster and of Python that are not promised to stay: how soon a run begins, what idling costs.

``forking`` forks runs from a process that has imported everything (``preloaded``) and has done once what Dagster does
for each run (``shortcuts``); ``run_coordinator``, which ``dagster.yaml`` names, launches a queued run as soon as the
one before it has ended; ``connections`` keeps connections to Dagster's storage (by ``program``); ``event_log`` lets an
export outlast an outage of that storage. Settings switch them off, and they are off by themselves with a minor version
of Dagster that nobody has looked at (``known``): runs then begin later, idling costs more, an outage costs an export,
and all else is the same.
"""
