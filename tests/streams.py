"""What is streamed to the page or the API, in tests that have no event loop."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

Part = TypeVar("Part")


def collected(parts: AsyncIterator[Part]) -> list[Part]:
    """All of it."""

    async def collect() -> list[Part]:
        return [part async for part in parts]

    return asyncio.run(collect())
