"""The four ops of every export job: each makes one call into vfexport_core and says what came of it.

An op whose input is None belongs to a run that was re-executed from a failure on: the claim that the earlier run held
is worth nothing any more, so it first does what comes before it.

`vfexport_core.pipeline` and `.delivery` are imported by the ops that need them: a run claims its export before it
spends its time on loading Arrow.
"""

# No postponed annotations here: Dagster reads them when an op is declared.

import dataclasses
from collections.abc import Iterator
from typing import Optional

import dagster as dg

from vfexport_core.catalog import find_spec
from vfexport_core.queue.models import Delivered
from vfexport_dagster.assets import materialization
from vfexport_dagster.claiming import Claiming, Owned, Patience, Skipped
from vfexport_dagster.config import ClaimConfig
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.runlog import ProgressReport, RunLog, failing, recorded

# Dagster knows this spelling only.
_OwnedOrNone = Optional[Owned]  # noqa: UP045
_DeliveredOrNone = Optional[Delivered]  # noqa: UP045


@dg.op(out=dg.Out(Owned, is_required=False, description="The export and its claim; none when there is nothing to do."))
def claim(context: dg.OpExecutionContext, config: ClaimConfig, mongo: MongoResource) -> Iterator[dg.Output[Owned]]:
    """Take the export when it is its turn: PENDING -> TRIGGERED."""
    log = RunLog.of_run(context)
    claiming = _claiming(context, mongo, log)
    with failing(log):
        try:
            owned = claiming.claim(claiming.find_or_request(config, mongo.database))
        except Skipped as skipped:
            log.say(f"nothing to do: {skipped}")
            return
    mongo.worker(owned.claim, owned.export)
    yield dg.Output(owned)


@dg.op
def count(context: dg.OpExecutionContext, owned: _OwnedOrNone, mongo: MongoResource) -> Owned:
    """Count the documents to read, for the types that have such a preliminary count."""
    return _count(context, owned or _claim_again(context, mongo), mongo)


@dg.op(out={"owned": dg.Out(Owned), "delivered": dg.Out(Delivered)})
def deliver(
    context: dg.OpExecutionContext, owned: _OwnedOrNone, mongo: MongoResource, buckets: BucketsResource
) -> tuple[Owned, Delivered]:
    """Write the file to S3 and publish it, all or nothing."""
    owned = owned or _count(context, _claim_again(context, mongo), mongo)
    return owned, _deliver(context, owned, mongo, buckets)


@dg.op
def finish(
    context: dg.OpExecutionContext,
    owned: _OwnedOrNone,
    delivered: _DeliveredOrNone,
    mongo: MongoResource,
    buckets: BucketsResource,
) -> None:
    """Record what was delivered: TRIGGERED -> FINISHED; a file that cannot be recorded is taken away again."""
    if owned is None or delivered is None:
        owned = _count(context, _claim_again(context, mongo), mongo)
        delivered = _deliver(context, owned, mongo, buckets)
    worker, log = mongo.worker(owned.claim, owned.export), RunLog(context.log, owned.export.correlation_id)
    with recorded(worker.end, log):
        export = worker.finish(delivered)
    context.log_event(materialization(find_spec(export.export_type), export))
    log.say(f"{export.id} is FINISHED")


def _claiming(context: dg.OpExecutionContext, mongo: MongoResource, log: RunLog) -> Claiming:
    return Claiming(context.run, context.instance, mongo.store(), Patience.from_settings(mongo.settings), log)


def _claim_again(context: dg.OpExecutionContext, mongo: MongoResource) -> Owned:
    log = RunLog.of_run(context)
    claiming = _claiming(context, mongo, log)
    with failing(log):
        owned = claiming.claim(claiming.find_again())
    mongo.worker(owned.claim, owned.export)
    return owned


def _count(context: dg.OpExecutionContext, owned: Owned, mongo: MongoResource) -> Owned:
    worker, log = mongo.worker(owned.claim, owned.export), RunLog(context.log, owned.export.correlation_id)
    with recorded(worker.end, log):
        expected = worker.count()
    if expected is not None:
        log.say(f"about {expected:,} documents to read")
    return dataclasses.replace(owned, expected=expected)


def _deliver(context: dg.OpExecutionContext, owned: Owned, mongo: MongoResource, buckets: BucketsResource) -> Delivered:
    worker, log = mongo.worker(owned.claim, owned.export), RunLog(context.log, owned.export.correlation_id)
    with recorded(worker.end, log):
        on_progress = ProgressReport(mongo.store(), owned.claim, log, owned.expected)
        delivered = worker.deliver(buckets.clients, on_progress)
    log.say(f"published {delivered.rows:,} rows, {delivered.bytes:,} bytes as {', '.join(delivered.keys)}")
    return delivered
