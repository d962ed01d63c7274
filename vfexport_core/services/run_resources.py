"""What the pod of a run gets, in a cluster where each run is a Job of its own.

Most types get what the cluster's configuration says. Those that differ have their own: the one that no second processor
makes faster, and whatever VFEXPORT_RUN_RESOURCES names.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vfexport_core.catalog import all_specs
from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import PREFIX, RunResources

VARIABLE = f"{PREFIX}RUN_RESOURCES"

_DEFAULTS = {"reminderEmailSample": RunResources(cpu="1", memory="1Gi")}  # depends on the order of all rows
_GIVEN = TypeAdapter(dict[str, RunResources])


def run_resources() -> dict[str, RunResources]:
    """Return the resources of each type that has its own; raises ConfigurationError, which names the variable."""
    try:
        given = _GIVEN.validate_json(os.environ.get(VARIABLE) or "{}")
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors(include_input=False, include_url=False))
        raise ConfigurationError(f"{VARIABLE}: {problems}", payload=VARIABLE) from None
    unknown = sorted(given.keys() - {spec.type for spec in all_specs()})
    if unknown:
        raise ConfigurationError(f"{VARIABLE} names no export types: {', '.join(unknown)}", payload=VARIABLE)
    return _DEFAULTS | given


def container_config(resources: RunResources) -> dict[str, Any]:
    """Return what Kubernetes is told of the run's container. A run counts on its limit, so that is requested."""
    wanted = resources.model_dump()
    return {"resources": {"requests": wanted, "limits": wanted}}
