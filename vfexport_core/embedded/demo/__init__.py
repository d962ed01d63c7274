"""The whole service on one machine: embedded servers, API and Dagster as child processes, and exports to watch.

``folder`` is where it lives, ``isolation`` what it does not see of the machine, ``children`` its processes and whether
they are alive, ``dagster`` Dagster's three, ``stack`` all of it together, ``api_client`` speaks to the API as any
caller would, ``exports`` queues exports and watches them, ``handover`` is for whoever goes on by hand.
"""

from vfexport_core.embedded.demo.exports import FINISHED, DemoExport, queue_exports, watch
from vfexport_core.embedded.demo.folder import demo_folder, find_checkout
from vfexport_core.embedded.demo.handover import Handover, hand_over
from vfexport_core.embedded.demo.stack import Ports, Stack, running_stack

__all__ = [
    "FINISHED",
    "DemoExport",
    "Handover",
    "Ports",
    "Stack",
    "demo_folder",
    "find_checkout",
    "hand_over",
    "queue_exports",
    "running_stack",
    "watch",
]
