"""Messages that wait for their listeners, kept small and given back when nobody comes.

Gradio keeps every message of a call until it is fetched, and the session of a call for good. A
program that calls and never listens would fill the memory so: here what waits for nobody is packed,
all of it together has a limit, and after a while it is forgotten.
"""

import asyncio
import pickle
import time
import zlib
from typing import Any

import gradio as gr

from gpt2.ui.server.collector import trim_memory

KEPT_SECONDS = 300  # that a message waits for a listener at least, if there is room
KEPT_BYTES = 64 * 2**20  # of all that waits for nobody, packed
LISTENING = 30  # seconds; who listens asks again every ten
ON_THE_WAY = 2  # seconds from a call until somebody fetches its answer
REST_SECONDS = 10  # without an event after which a session is idle
TRIM_SECONDS = 10  # after something was freed, with whatever was meanwhile


class Mailbox(asyncio.Queue):
    """The messages of one session; those that nobody is there for lie packed in it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = time.monotonic()
        self._listened = False
        self.nbytes = 0  # of what is packed

    @property
    def listened(self) -> bool:
        """Whether somebody takes the messages out."""
        return self._listened and time.monotonic() - self.heard < LISTENING

    @property
    def awaited(self) -> bool:
        """Whether somebody takes them out, or has just called and may be on the way."""
        return self.listened or time.monotonic() - self.heard < ON_THE_WAY

    async def get(self) -> Any:
        """The next message."""
        self._listened, self.heard = True, time.monotonic()
        return await super().get()

    def _put(self, message: Any) -> None:
        if not self.listened:
            message = zlib.compress(pickle.dumps(message), 1)
            self.nbytes += len(message)
        super()._put(message)

    def _get(self) -> Any:
        message = super()._get()
        if isinstance(message, bytes):
            self.nbytes -= len(message)
            message = pickle.loads(zlib.decompress(message))
        return message


class Mailboxes(dict[str, Mailbox]):
    """By session; takes the place of Gradio's, which are never emptied."""

    def __init__(self, app: gr.Blocks) -> None:
        super().__init__()
        self._app = app
        self._trim_is_due = False
        self._ended: dict[str, float] = {}  # when the last event of each did, of the loop's clock

    def __setitem__(self, session: str, _: asyncio.Queue) -> None:
        super().__setitem__(session, Mailbox())
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._look, session)
        waiting = sum(box.nbytes for box in self.values())
        for other, box in list(self.items()):  # the oldest first
            if waiting <= KEPT_BYTES:
                break
            if box.nbytes and not self._busy(other):
                waiting -= box.nbytes
                self._forget(other)

    def _look(self, session: str) -> None:
        """Forget a session that nobody has listened to for a while, or look again later."""
        if session not in self:
            return
        if self._busy(session) or time.monotonic() - self[session].heard < KEPT_SECONDS - 1:
            asyncio.get_running_loop().call_later(KEPT_SECONDS, self._look, session)
        else:
            self._forget(session)

    def _busy(self, session: str) -> bool:
        """Whether messages are still to come, or somebody listens for them."""
        return self[session].listened or self._awaits(session)

    def _awaits(self, session: str) -> bool:
        """Whether an event of it is worked on."""
        events = list(self._app._queue.event_ids_to_events.values())
        return any(event.session_hash == session for event in events)

    def _forget(self, session: str) -> None:
        del self[session]
        self._app._queue.pending_event_ids_session.pop(session, None)
        forget_state(self._app, session)
        self.trim_soon()

    def ended(self, session: str) -> None:
        """An event is over: what Gradio keeps of its session is given back if none follows."""
        loop = asyncio.get_running_loop()
        self._ended[session] = loop.time()
        loop.call_later(REST_SECONDS, self._rest, session)
        self.trim_soon()

    def _rest(self, session: str) -> None:
        last, now = self._ended.get(session), asyncio.get_running_loop().time()
        if last is not None and now - last > REST_SECONDS - 0.1:  # else it is looked at later
            del self._ended[session]
            if not self._awaits(session):
                forget_state(self._app, session)

    def trim_soon(self) -> None:
        """Give what was freed back to the system, in a while and with whatever is freed by then."""
        if not self._trim_is_due:
            self._trim_is_due = True
            asyncio.get_running_loop().call_later(TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        self._trim_is_due = False
        asyncio.get_running_loop().run_in_executor(None, trim_memory)


def forget_state(app: gr.Blocks, session: str) -> None:
    """Give back what Gradio keeps of a session, a third of a megabyte, if it holds nothing."""
    holder = app.state_holder
    kept = holder.session_data.get(session)
    if kept is not None and not kept.state_data:
        holder.session_data.pop(session, None)
        holder.time_last_used.pop(session, None)
