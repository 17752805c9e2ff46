"""The page's clients, all at once over HTTP: how much each gets, and how soon."""

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from contest import news

FULL = 503  # the page's answer when too many wait


@dataclass(frozen=True)
class Text:
    """One text as its client saw it.

    Args:
        first, last: seconds from the call to the first token and to the end.
        tokens: how many there were.
    """

    first: float
    last: float
    tokens: int


@dataclass(frozen=True)
class Crowd:
    """What clients that write at the same time got.

    Args:
        texts: of each client.
        seconds: from the first call to the last token.
    """

    texts: Sequence[Sequence[Text]]
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens a second of all together."""
        return sum(text.tokens for one in self.texts for text in one) / self.seconds

    @property
    def slowest(self) -> float:
        """Seconds a token of the slowest client, as a multiple of the median client's."""
        each = [sum(t.last for t in one) / sum(t.tokens for t in one) for one in self.texts]
        return max(each) / statistics.median(each)


class Page:
    """A page that runs, asked over its API."""

    def __init__(self, url: str) -> None:
        self._url, self._asked = url, 0

    def crowd(self, clients: int, texts: int, tokens: int) -> Crowd:
        """Clients that start together and write texts one after the other."""
        return asyncio.run(self._crowd(clients, texts, tokens))

    def views(self, clients: int, tokens: int, count: int) -> list[float]:
        """Seconds of views (attention, layers) while clients write a long text each."""
        return asyncio.run(self._views(clients, tokens, count))

    async def _crowd(self, clients: int, texts: int, tokens: int) -> Crowd:
        async with self._open() as http:
            start = time.perf_counter()
            found = await asyncio.gather(
                *(self._client(http, texts, tokens) for _ in range(clients))
            )
            return Crowd(found, time.perf_counter() - start)

    async def _views(self, clients: int, tokens: int, count: int) -> list[float]:
        async with self._open() as http:
            writing = asyncio.gather(*(self._client(http, 1, tokens) for _ in range(clients)))
            await asyncio.sleep(1)
            seconds: list[float] = []
            while len(seconds) < count and not writing.done():
                text = {"text": self._prompt()}
                start = time.perf_counter()
                await self._call(http, ("attention", "lens")[len(seconds) % 2], text)
                seconds.append(time.perf_counter() - start)
                await asyncio.sleep(0.1)
            await writing
            return seconds

    async def _client(self, http: httpx.AsyncClient, texts: int, tokens: int) -> list[Text]:
        found = []
        for _ in range(texts):
            values = {"prompt": self._prompt(), "max_new_tokens": tokens, "seed": self._asked}
            first, last, answer = await self._call(http, "generate", values)
            found.append(Text(first, last, len(answer["tokens"])))
        return found

    async def _call(
        self, http: httpx.AsyncClient, name: str, values: dict
    ) -> tuple[float, float, dict]:
        """Seconds to the first update and to the last, and what that holds."""
        start, first = time.perf_counter(), 0.0
        while (made := await http.post(f"v2/{name}", json=values)).status_code == FULL:
            await asyncio.sleep(0.1)
        made.raise_for_status()
        answer: dict | None = None
        async with http.stream("GET", f"{name}/{made.json()['event_id']}") as lines:
            async for line in lines.aiter_lines():
                if line.startswith("event: error"):
                    raise RuntimeError(f"the page refused {name} of {values}")
                if line.startswith("data: ["):
                    (answer,) = json.loads(line.removeprefix("data: "))
                    if answer.get("tokens") != []:  # a text's first update may hold none
                        first = first or time.perf_counter() - start
        if answer is None:
            raise RuntimeError(f"the page gave no answer to {name} of {values}")
        return first, time.perf_counter() - start, answer

    def _open(self) -> httpx.AsyncClient:
        address = f"{self._url}gradio_api/call/"
        return httpx.AsyncClient(base_url=address, timeout=300, trust_env=False)

    def _prompt(self) -> str:
        self._asked += 1  # no text twice: what was read before is kept
        return news.prompt(self._asked)
