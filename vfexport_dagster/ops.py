"""The four ops of every export job: each makes one call, and nothing crosses from one to the next but its turn.

What they share is the run's `AttemptSession`.
"""

# No postponed annotations here: Dagster reads them when an op is declared.

from collections.abc import Iterator
from typing import Any

import dagster as dg

from vfexport_dagster.session import AttemptResource

_AFTER = {"after": dg.In(dg.Nothing)}


class ClaimConfig(dg.Config):
    """The type that the job stands for, and what it was launched with."""

    export_type: str
    launch: dict[str, Any]


@dg.op(out=dg.Out(dg.Nothing, is_required=False, description="None when there is nothing to do."))
def claim(
    context: dg.OpExecutionContext, config: ClaimConfig, attempt: dg.ResourceParam[AttemptResource]
) -> Iterator[dg.Output[None]]:
    """Take the export when it is its turn: PENDING -> TRIGGERED."""
    from vfexport_core.services.launch import Launch  # noqa: PLC0415 the definitions load without a driver

    with attempt.step(context) as session:
        is_claimed = session.claim(Launch.from_config(config.export_type, config.launch))
    if is_claimed:
        yield dg.Output(None)


@dg.op(ins=_AFTER, out=dg.Out(dg.Nothing))
def count(context: dg.OpExecutionContext, attempt: dg.ResourceParam[AttemptResource]) -> None:
    """Count the documents to read, for the types that have such a preliminary count."""
    with attempt.step(context) as session:
        session.count()


@dg.op(ins=_AFTER, out=dg.Out(dg.Nothing))
def deliver(context: dg.OpExecutionContext, attempt: dg.ResourceParam[AttemptResource]) -> None:
    """Write the file to S3 and publish it, all or nothing."""
    with attempt.step(context) as session:
        session.deliver()


@dg.op(ins=_AFTER, out=dg.Out(dg.Nothing))
def finish(context: dg.OpExecutionContext, attempt: dg.ResourceParam[AttemptResource]) -> None:
    """Record what was delivered: TRIGGERED -> FINISHED."""
    with attempt.step(context) as session:
        export = session.finish()
    attempt.tell_delivered(context, export)
