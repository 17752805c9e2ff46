"""Gradio's queue, shared fairly, and with an eye on whether anybody still wants the answers."""

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

import gradio as gr
from fastapi import HTTPException, Request
from gradio.block_function import BlockFunction
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, Queue
from gradio.server_messages import EstimationMessage, ProcessCompletedMessage

from gpt2.ui.server.incoming import Refused
from gpt2.ui.server.mailbox import Mailboxes
from gpt2.ui.server.visitors import TURN, Line, Places, Turn, visitor_of

UNHEARD = 30.0  # seconds in which somebody must begin to listen for an answer
UNHEARD_WORDS = (
    f"nobody listened for the answer within {UNHEARD:g} seconds, so it was given up; call again, "
    "and fetch the answer while it is written"
)
SPARE = 16  # events beside those that have places
LOOK = 0.005  # seconds until an event that has come is seen


class FairQueue(Queue):
    """Takes the place of Gradio's, which serves who comes first and knows no visitors.

    An event's place is counted from when it comes until what it started has ended, also if it was
    cancelled meanwhile. Who is gone is done with at once.
    """

    def __init__(self, app: gr.Blocks, places: Mapping[str, Places]) -> None:
        """Of an app that is built.

        Args:
            places: by the concurrency_id of the app's events.
        """
        super().__init__(
            live_updates=True,
            concurrency_count=sum(kind.running + kind.waiting for kind in places.values()) + SPARE,
            update_intervals=1,
            max_size=None,  # each line has its own
            blocks=app,
            default_concurrency_limit=None,
        )
        self.lines = {name: Line(kind) for name, kind in places.items()}
        self.pending_messages_per_session = Mailboxes(app)
        self.sleep_when_free = LOOK  # else it looks a thousand times a second
        self.progress_update_sleep_when_free = 1  # nothing here has a gr.Progress
        self.ANAYLTICS_CACHE_FREQUENCY = 2**31  # no table of all events after each of them
        self._turns: dict[str, Turn] = {}  # by event, until it has ended
        self._work: dict[str, asyncio.Task[None]] = {}  # by event

    def start(self) -> None:
        """As of Queue, which launch() tells how many threads there are, not how many events."""
        places = (line.places for line in self.lines.values())
        self.max_thread_count = sum(kind.running + kind.waiting for kind in places) + SPARE
        super().start()

    # --- who comes ------------------------------------------------------------------------------

    async def push(
        self, body: PredictBodyInternal, request: Request, username: str | None
    ) -> tuple[bool, Any, Any]:
        """As of Queue, if there is a place; else it is said why not.

        Raises:
            HTTPException: there is none, and it was asked for by a plain call.
        """
        fn = self.blocks.fns[body.fn_index]
        visitor = visitor_of(request.client and request.client.host, body.session_hash)
        try:
            turn = self._line(fn).join(visitor)
        except Refused as error:
            if body.simple_format:
                raise HTTPException(error.status, str(error), error.headers) from None
            return True, self._refuse(body, fn, request, username, str(error)), "success"
        try:
            success, event_id, state = await super().push(body, request, username)
        except BaseException:
            turn.leave()
            raise
        if success:
            self._turns[event_id] = turn
            asyncio.get_running_loop().call_later(UNHEARD, self._listen, event_id)
        else:
            turn.leave()
        return success, event_id, state

    def _line(self, fn: BlockFunction) -> Line:
        return self.lines.get(str(fn.concurrency_id)) or next(iter(self.lines.values()))

    def _refuse(self, body: Any, fn: BlockFunction, request: Any, name: Any, words: str) -> str:
        """Answer an event with an error; the page and Gradio's clients show its words.

        Of a status of HTTP they would show their own.
        """
        event = Event(body.session_hash, fn, request, name)
        session = event.session_hash
        if session not in self.pending_messages_per_session:
            self.pending_messages_per_session[session] = asyncio.Queue()
        self.pending_event_ids_session.setdefault(session, set()).add(event._id)
        self._fail(event, words)
        return event._id

    def _fail(self, event: Event, words: str) -> None:
        output = {"error": words, "visible": True, "duration": 10, "title": "Error"}
        self.send_message(event, ProcessCompletedMessage(output=output, success=False))

    # --- whose turn it is -----------------------------------------------------------------------

    async def process_events(
        self, events: list[Event], batch: bool, begin_time: float, fn: BlockFunction
    ) -> None:
        """As of Queue, in its turn. What can't be cancelled keeps its place until it has ended."""
        event = events[0]  # no function here takes several
        if event._id not in self._turns:
            return  # it was removed
        TURN.set(self._turns[event._id])
        work = asyncio.create_task(self._in_turn(event, begin_time, fn))
        self._work[event._id] = work

        def done(_: object) -> None:
            del self._work[event._id]
            self._leave(event._id)
            self.pending_messages_per_session.ended(event.session_hash)

        work.add_done_callback(done)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            if self._let_go(event):
                await asyncio.wait([work])
            raise

    async def _in_turn(self, event: Event, begin_time: float, fn: BlockFunction) -> None:
        try:
            if not tells_its_place(fn):
                async for place in self._turns[event._id].places():
                    size = len(self._line(fn).waiting)
                    self.send_message(event, EstimationMessage(rank=place, queue_size=size))
        except asyncio.CancelledError:
            event.alive = False  # so that it is not begun
        await super().process_events([event], False, begin_time, fn)

    # --- who is gone ----------------------------------------------------------------------------

    async def clean_events(
        self, *, session_hash: str | None = None, event_id: str | None = None
    ) -> None:
        """As of Queue: who listened for a session's events is gone."""
        for event in [event for job in self.active_jobs for event in job or ()]:
            if session_hash == event.session_hash or event_id == event._id:
                self._let_go(event)
        await super().clean_events(session_hash=session_hash, event_id=event_id)
        self._forget_removed()

    async def remove_from_queue(self, event_id: str) -> None:
        """As of Queue: an event was cancelled."""
        event = self.event_ids_to_events.get(event_id)
        await super().remove_from_queue(event_id)
        if [event] in self.active_jobs and event_id not in self._work:
            # Its task was cancelled before it ran at all, and will clear up nothing.
            self.active_jobs[self.active_jobs.index([event])] = None
            self.event_ids_to_events.pop(event_id, None)
        self._forget_removed()

    def _forget_removed(self) -> None:
        for event_id in [name for name in self._turns if name not in self.event_ids_to_events]:
            self._leave(event_id)

    def _leave(self, event_id: str) -> None:
        turn = self._turns.pop(event_id, None)
        if turn is not None:
            turn.leave()

    def _listen(self, event_id: str) -> None:
        """Give an event up if nobody listens for its answer, or look again later."""
        event = self.event_ids_to_events.get(event_id)
        if event is None:
            return
        box = self.pending_messages_per_session.get(event.session_hash)
        if box is not None and not box.listened:
            self._fail(event, UNHEARD_WORDS)
            self._let_go(event)
        else:
            asyncio.get_running_loop().call_later(UNHEARD, self._listen, event_id)

    def _let_go(self, event: Event) -> bool:
        """End the work for an event: at once if it only awaits, and else at its next result.

        Returns:
            Whether it ends at once.
        """
        event.alive = False
        work = self._work.get(event._id)
        if work is None:  # it has ended, or has yet to begin and will not
            return False
        at_once = self._turns[event._id].place > 0 or inspect.isasyncgenfunction(event.fn.fn)
        if at_once:
            work.cancel()
        return at_once


def tells_its_place(fn: BlockFunction) -> bool:
    """Whether a function says itself how long it has to wait, as those that write on the page do.

    They ask TURN for it, and must.
    """
    return fn.api_visibility != "public" and inspect.isasyncgenfunction(fn.fn)
