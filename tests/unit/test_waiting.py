"""What waits for another process tells that it waited in vain apart from what is wrong with an answer."""

from __future__ import annotations

import pytest

from tests.api_client import WaitedInVain
from tests.e2e.stack import poll


def test_what_never_comes_is_named() -> None:
    with pytest.raises(WaitedInVain, match=r"^not within 0 s: the end$"):
        poll(lambda: None, 0, "the end")


def test_an_answer_that_must_not_be_is_told_as_it_is() -> None:
    def look() -> None:
        raise AssertionError("FAILED")

    with pytest.raises(AssertionError, match=r"^FAILED$"):
        poll(look, what="the end")
