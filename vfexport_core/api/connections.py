"""What one client may take of an API process: memory for what it sends, and time to send it.

uvicorn's own protocols keep the header lines of a request without bound (with httptools) and wait for the rest of a
request for ever: where no proxy bounds them, one stranger could take all memory, or all connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from vfexport_core.api import correlation
from vfexport_core.api.errors import error_response
from vfexport_core.errors import InvalidRequest

if TYPE_CHECKING:
    import asyncio

STREAMS = "vfexport.streams"
"""In the scope of a request: its answer is a stream without an end of its own."""
# Answers have signed addresses, tokens and what is known of people: no cache is to keep them, unless a route says so.
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

_LARGEST_PIECE = 16 * 1024
_RECEIVING = (h11.IDLE, h11.SEND_BODY)
_UNANSWERED = (h11.IDLE, h11.SEND_RESPONSE)
_NOT_UNDERSTOOD = "the request is not HTTP/1.1, or its line and headers are longer than 16 KiB"
_UNDERSTOOD = "Send HTTP/1.1 with one Host header and one Content-Length, and fewer or shorter headers."


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 within bounds: pass it as ``http`` to uvicorn.

    A request's line and headers are refused when they are longer than h11 allows (`h11_max_incomplete_event_size`,
    16 KiB). A client that is waited for (for its request, for the rest of one, for it to take an answer) is cut off
    after `turn_seconds`. Of more than `most_connections` the one that keeps the process waiting longest is cut off:
    the new one, if all others work.
    """

    turn_seconds: ClassVar[float] = 20.0
    most_connections: ClassVar[int] = 800
    """Leaves room for MongoDB and S3 within the 1,024 open files that processes usually may have."""

    turn: asyncio.TimerHandle | None = None
    """Runs while it is the client's turn."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if len(self.connections) >= self.most_connections and (slowest := self._slowest()):
            slowest.cut_off()  # before this one counts, so that the bound holds at every moment
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self.most_connections:
            self.cut_off()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_turn()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # The parser looks at its limit when it needs more, and the event loop reads much more than that at once.
        for start in range(0, len(data), _LARGEST_PIECE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + _LARGEST_PIECE])

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def shutdown(self) -> None:
        super().shutdown()
        # A stream would go on as long as it may: whoever reads it asks another process.
        if getattr(self.cycle, "scope", {}).get(STREAMS):  # there is no cycle before the first request
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 uvicorn's words, the same for all that is wrong
        # When an answer has begun there cannot be another, and one to HEAD has no body.
        answers_head = self.conn.our_state is h11.SEND_RESPONSE and self.cycle.scope["method"] == "HEAD"
        if self.conn.our_state in _UNANSWERED and not answers_head:
            self.transport.write(self._refusal())
        self.transport.close()

    def _refusal(self) -> bytes:
        """Return the answer to what the app never sees, in the form of all answers (`vfexport_core.api.errors`)."""
        answer = error_response(InvalidRequest(_NOT_UNDERSTOOD, payload="request", hint=_UNDERSTOOD))
        added = {correlation.HEADER: correlation.accept(None), "Connection": "close"} | SAFE_HEADERS
        headers = [*answer.raw_headers, *((name.encode(), value.encode()) for name, value in added.items())]
        head = h11.Response(status_code=answer.status_code, headers=headers, reason=b"Bad Request")
        events = (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage())
        return b"".join(sent for event in events if (sent := self.conn.send(event)))

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.cut_off()  # it never took its answer, so closing would wait for that
        else:
            super().timeout_keep_alive_handler()

    def cut_off(self) -> None:
        """Drop the connection and what is unsent, at once."""
        self._end_turn()
        self.connections.discard(self)
        self.transport.abort()

    def _slowest(self) -> BoundedProtocol | None:
        """Return the connection that is waited for longest, or None if all of them work."""
        waited_for = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.turn]
        return min(waited_for, key=lambda one: one.turn.when() if one.turn else 0.0, default=None)

    def _watch(self) -> None:
        between_requests = self.timeout_keep_alive_task is not None
        receives = self.conn.their_state in _RECEIVING and not between_requests
        if not (receives or self.flow.write_paused):
            self._end_turn()
        elif self.turn is None and not self.transport.is_closing():
            self.turn = self.loop.call_later(self.turn_seconds, self._turn_is_over)

    def _turn_is_over(self) -> None:
        self.turn = None
        # It may send no more at the moment: the app has not got to reading yet.
        if self.flow.read_paused or self.conn.they_are_waiting_for_100_continue:
            self._watch()
        else:
            self.cut_off()

    def _end_turn(self) -> None:
        if self.turn is not None:
            self.turn.cancel()
            self.turn = None
