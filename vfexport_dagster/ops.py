"""The four ops of every export job: each makes one call into vfexport_core and says what came of it.

`vfexport_core.exporting` and `.delivery` are imported by the ops that need them: a run claims its export before it
spends its time on loading Arrow.
"""

# No postponed annotations here: Dagster reads them when an op is declared.

import dataclasses
from collections.abc import Iterator

import dagster as dg

from vfexport_core.catalog import find_spec
from vfexport_core.queue.models import Delivered
from vfexport_dagster.assets import materialization
from vfexport_dagster.claiming import Claiming, Owned, Patience, Skipped
from vfexport_dagster.config import ClaimConfig
from vfexport_dagster.resources import BucketsResource, MongoResource
from vfexport_dagster.runlog import ProgressReport, RunLog, failing, recorded


@dg.op(out=dg.Out(Owned, is_required=False, description="The export and its claim; none when there is nothing to do."))
def claim(context: dg.OpExecutionContext, config: ClaimConfig, mongo: MongoResource) -> Iterator[dg.Output[Owned]]:
    """Take the export when it is its turn: PENDING -> TRIGGERED."""
    log = RunLog.of_run(context)
    claiming = Claiming(context.run, context.instance, mongo.store(), Patience.from_settings(mongo.settings), log)
    with failing(log):
        try:
            owned = claiming.claim(claiming.find_or_request(config, mongo.database))
        except Skipped as skipped:
            log.say(f"nothing to do: {skipped}")
            return
    yield dg.Output(owned)


@dg.op
def count(context: dg.OpExecutionContext, owned: Owned, mongo: MongoResource) -> Owned:
    """Count the documents to read, for the types that have such a preliminary count."""
    from vfexport_core.exporting import count_rows  # noqa: PLC0415 see the module

    store, log = mongo.store(), RunLog(context, owned.export.correlation_id)
    with recorded(store, owned.claim, log):
        expected = count_rows(find_spec(owned.export.export_type), owned.export.campaign_id, mongo.database)
        if expected is not None:
            store.set_count(owned.claim, expected)
            log.say(f"about {expected:,} documents to read")
    return dataclasses.replace(owned, expected=expected)


@dg.op(out={"owned": dg.Out(Owned), "delivered": dg.Out(Delivered)})
def deliver(
    context: dg.OpExecutionContext, owned: Owned, mongo: MongoResource, buckets: BucketsResource
) -> tuple[Owned, Delivered]:
    """Write the file to S3 and publish it, all or nothing."""
    from vfexport_core.exporting import ExportHooks, run_export  # noqa: PLC0415 see the module

    store, log, held = mongo.store(), RunLog(context, owned.export.correlation_id), owned.claim
    hooks = ExportHooks(
        on_progress=ProgressReport(store, held, log, owned.expected),
        note_keys=lambda bucket, keys: store.note_keys(held, bucket, keys),
        confirm=lambda: store.confirm(held),
    )
    with recorded(store, held, log):
        delivered = run_export(
            owned.export, settings=mongo.settings, database=mongo.database, buckets=buckets.clients, hooks=hooks
        )
    log.say(f"published {delivered.rows:,} rows, {delivered.bytes:,} bytes as {', '.join(delivered.keys)}")
    return owned, delivered


@dg.op
def finish(
    context: dg.OpExecutionContext,
    owned: Owned,
    delivered: Delivered,
    mongo: MongoResource,
    buckets: BucketsResource,
) -> None:
    """Record what was delivered: TRIGGERED -> FINISHED; a file that cannot be recorded is taken away again."""
    store, log, held = mongo.store(), RunLog(context, owned.export.correlation_id), owned.claim
    spec = find_spec(owned.export.export_type)
    with recorded(store, held, log, undo=lambda: buckets.discard(spec.bucket, held, delivered.keys)):
        export = store.finish(held, delivered)
    context.log_event(materialization(spec, export))
    log.say(f"{export.id} is FINISHED")
