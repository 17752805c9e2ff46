"""The page's clients, all at once over HTTP."""

import asyncio
import json
import time
from typing import Any

import httpx

from contest import news, race
from contest.contender import WRITERS
from contest.crowd import Crowd, PageTimes, Text
from contest.plan import PROMPT, Plan
from contest.server import served
from gpt2.tokenizer import Tokenizer

FULL = 503  # the page's answer when too many wait
ROUNDS = 3  # at most: each takes minutes
VIEWS = 6  # opened in each round


def ask_page(plan: Plan) -> PageTimes:
    """The page under its clients, and the same model without a page."""
    found = PageTimes(plan.client_tokens, writers=8)
    numbers = "bfloat16" if plan.device == "cuda" else "float32"
    crowds = [(clients, plan.client_texts, plan.client_tokens) for clients in plan.clients]
    if plan.long_tokens:
        crowds.append((8, 1, plan.long_tokens))
    with (
        race.started([WRITERS[0]], plan.entry("mini", numbers)) as (alone,),
        served("--device", plan.device) as server,
    ):
        page = Page(server.url)
        text = Tokenizer(plan.entry("mini").directory).encode(PROMPT)
        page.crowd(1, 1, 8)
        for _ in range(min(plan.rounds, ROUNDS)):
            seconds, _ = alone.call("write", [text], plan.client_tokens)
            found.alone.append(plan.client_tokens / seconds)
            for clients, texts, tokens in crowds:
                crowd = page.crowd(clients, texts, tokens)
                found.crowds.setdefault((clients, tokens), []).append(crowd)
                race.say(f"page, {clients} clients: {crowd.rate:.0f} tokens/s")
            if plan.long_tokens:
                found.views += page.views(found.writers, plan.long_tokens // 2, VIEWS)
    return found


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
            while len(seconds) < count and not (clients and writing.done()):
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
        self, http: httpx.AsyncClient, name: str, values: dict[str, Any]
    ) -> tuple[float, float, dict[str, Any]]:
        """Seconds to the first update and to the last, and what that holds."""
        start, first = time.perf_counter(), 0.0
        while (made := await http.post(f"v2/{name}", json=values)).status_code == FULL:
            await asyncio.sleep(0.1)
        made.raise_for_status()
        answer: dict[str, Any] | None = None
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
