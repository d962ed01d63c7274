"""The orchestration of exports in Dagster: it decides when; `vfexport_core` decides what.

``sensors/pending`` asks for a run per PENDING export -> ``jobs`` (one per export type) of the same ``ops``: claim,
count, deliver, finish -> ``sensors/outcome`` records how a run ended that could not record it itself.
"""
