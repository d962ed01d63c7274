"""The use cases, one address each, for the API, the command line and Dagster alike.

``exports`` requests, reads, cancels and retries an export; ``claim`` waits for its turn and takes it; ``run_attempt``
is one attempt, from its count to its end; ``run_claim`` and ``attempt_session`` are both for a run of an orchestrator,
whose steps are apart; ``record_run_end`` closes the export of a run that could not do so itself; ``reap`` ends what is
late or lost and cleans up after it; ``reconcile_runs`` resolves what the queue and an orchestrator disagree on;
``initialise`` sets the database up. What they work with is a `Backend`, which ``bootstrap`` opens from the settings.

An entrypoint translates what it was asked, calls one of these and presents what came of it.
"""
