"""Several things at once: results in order, and an end as soon as one of them fails."""

from __future__ import annotations

import threading

import pytest

from vfexport_core.telemetry.threads import at_once


def test_results_are_in_the_order_of_the_items() -> None:
    assert at_once(lambda number: number * 2, range(30)) == [number * 2 for number in range(30)]


def test_nothing_is_begun_once_something_has_failed() -> None:
    begun: list[int] = []
    failed = threading.Event()

    def fail_at_the_third(number: int) -> None:
        begun.append(number)
        if number == 2:
            failed.set()
            raise LookupError(number)
        failed.wait(60)

    with pytest.raises(LookupError):
        at_once(fail_at_the_third, range(1_000))
    assert len(begun) <= 8
