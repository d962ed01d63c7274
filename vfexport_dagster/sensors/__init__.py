"""The sensors: what is asked of Dagster (pending), what Dagster has to tell (outcome), and what is wrong (reaper)."""

# No postponed annotations here: Dagster reads those of what is wrapped.

import functools
from collections.abc import Callable
from typing import Any

import dagster as dg

from vfexport_core.errors import SourceUnavailable


def sensor(
    name: str, seconds: int, description: str, **jobs: Any
) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """Declare a sensor that is on by default, and that says so and goes on later while MongoDB is away."""

    def declare(evaluate: Callable[..., Any]) -> dg.SensorDefinition:
        @functools.wraps(evaluate)
        def evaluated(*arguments: Any, **resources: Any) -> Any:
            try:
                return evaluate(*arguments, **resources)
            except SourceUnavailable as error:
                return dg.SkipReason(error.description)

        decorate = dg.sensor(
            name=name,
            minimum_interval_seconds=seconds,
            description=description,
            default_status=dg.DefaultSensorStatus.RUNNING,
            **jobs,
        )
        return decorate(evaluated)

    return declare
