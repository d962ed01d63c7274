"""What Dagster does, as metrics: ``python -m vfexport_dagster.exporter --workspace FILE`` serves them for Prometheus.

A process of its own beside the daemon, so that it still answers when that has died. It asks Dagster's storage and the
code location at each scrape, and needs neither MongoDB nor the buckets.
"""

from __future__ import annotations

from vfexport_core.telemetry.exporter import exporter_command
from vfexport_dagster.instance_state import opened

main = exporter_command(opened, "Serve the metrics of the Dagster instance that DAGSTER_HOME names, until SIGTERM.")

if __name__ == "__main__":
    main()
