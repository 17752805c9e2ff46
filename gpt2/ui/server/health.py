"""/health: whether the page is well, for whoever starts it again or sends visitors elsewhere."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse

from gpt2.records import Pulse
from gpt2.ui.server.served import Served
from gpt2.ui.server.sign_in import SIGNED_IN


async def health(request: Request) -> JSONResponse:
    """{"status": "ok", "model": ..., ...}, or a status of 503 and why no visitor should come.

    Where a password is asked for, who has not signed in is told the status alone.
    """
    app: Served = request.app.get_blocks()
    pulse = app.engine.pulse()
    status = status_of(app, pulse)
    told = {"status": status}
    if request.app.auth is None or request.scope[SIGNED_IN]:
        told |= {
            "model": pulse.model,
            "classifier": pulse.classifier,
            "writing": pulse.writing,
            "waiting": waiting(app, pulse),
            "replicas": pulse.replicas,
        }
    code = HTTPStatus.OK if status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(told, code, {"cache-control": "no-store"})


def status_of(app: Served, pulse: Pulse) -> str:
    """ok; closing, while what was asked is answered; or stuck: nothing has been computed lately."""
    if app.door.closed:
        return "closing"
    return "ok" if pulse.alive else "stuck"


def waiting(app: Served, pulse: Pulse) -> int:
    """Requests that wait for their turn, before the engine and in it."""
    return sum(len(line.waiting) for line in app._queue.lines.values()) + pulse.waiting
