"""A flag that processes share: one sets it, the others see it or wait for it."""

from __future__ import annotations

from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext


class ProcessFlag(Event):
    """An event between processes whose `set` waits for nobody.

    `multiprocessing`'s own waits until all who wait for it have woken up, which a process that is stopped, or was just
    killed, never does. It is one by its type alone, for those who ask for that.
    """

    def __init__(self, context: BaseContext) -> None:
        super().__init__(ctx=context)
        self._raised = context.Semaphore(0)

    def is_set(self) -> bool:
        return self.wait(0)

    def set(self) -> None:
        if not self.is_set():
            self._raised.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False when it was not after `timeout` seconds."""
        if not self._raised.acquire(timeout=timeout):
            return False
        self._raised.release()  # it stays set, for the next who asks
        return True

    def clear(self) -> NoReturn:
        """Raise NotImplementedError: once it is set it stays so."""
        raise NotImplementedError
