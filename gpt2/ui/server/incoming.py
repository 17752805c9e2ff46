"""A request on its way in: refused in words, or its body handed on once it was looked at."""

from collections.abc import Mapping

from starlette.types import Message, Receive


class Refused(Exception):
    """A request that is not taken further; its words are for the visitor.

    Args:
        status: of HTTP.
        headers: of the answer.
    """

    def __init__(self, words: str, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.headers = status, headers


def once_more(body: Message, receive: Receive) -> Receive:
    """What an app receives: a body that was read already, and then what comes."""
    unread = [body]

    async def again() -> Message:
        return unread.pop() if unread else await receive()

    return again
