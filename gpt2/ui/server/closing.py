"""Closing the page: in order, so that what was asked is answered, or at once."""

import logging
import time
from queue import SimpleQueue

from gpt2.ui.server.served import Served

DRAIN_SECONDS = 8.0  # with what follows under the 10 that Docker and others give
TELLING_SECONDS = 0.5
LOOK = 0.05  # seconds


def drain(app: Served, *, stop: "SimpleQueue[int]") -> None:
    """Take nothing new, and wait for DRAIN_SECONDS at most until all that was taken is answered.

    Args:
        stop: whatever comes there ends the wait.
    """
    app.door.close()
    end = time.monotonic() + DRAIN_SECONDS
    while busy(app) and time.monotonic() < end and stop.empty():
        time.sleep(LOOK)


def busy(app: Served) -> bool:
    """Whether somebody waits for an answer, or for the rest of one."""
    queue = app._queue
    boxes = queue.pending_messages_per_session
    fetched = any(
        ids and session in boxes and boxes[session].awaited
        for session, ids in list(queue.pending_event_ids_session.items())
    )
    called = app.tools is not None and app.tools.running
    return bool(len(queue) or any(queue.active_jobs) or fetched or called)


def shut(app: Served) -> None:
    """Free the port, once those whose work was ended have been told; other connections are cut."""
    end = time.monotonic() + TELLING_SECONDS
    while busy(app) and time.monotonic() < end:
        time.sleep(LOOK)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it tells of each of them
    app.server.force_exit = True
    app.close(verbose=False)
