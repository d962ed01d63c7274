"""What the pod of a run gets, where each run is a Job of its own (dagster-k8s); every other launcher ignores it.

Most types get what the launcher's configuration says. Those that differ have a tag with their own: the one that no
second processor makes faster, and whatever VFEXPORT_RUN_RESOURCES names.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from vfexport_core.catalog import all_specs
from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import PREFIX, RunResources

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG = "dagster-k8s/config"
VARIABLE = f"{PREFIX}RUN_RESOURCES"

_DEFAULTS = {"reminderEmailSample": RunResources(cpu="1", memory="1Gi")}  # depends on the order of all rows
_GIVEN = TypeAdapter(dict[str, RunResources])


def pod_resources() -> dict[str, RunResources]:
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


def pod_tags(export_type: str, resources: Mapping[str, RunResources]) -> dict[str, str]:
    """Return the tags of a type's job. A run counts on the processors of its limit, so these are requested."""
    if export_type not in resources:
        return {}
    wanted = resources[export_type].model_dump()
    container = {"resources": {"requests": wanted, "limits": wanted}}
    return {CONFIG: json.dumps({"container_config": container})}
