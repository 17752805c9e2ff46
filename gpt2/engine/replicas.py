"""Replicas, on this machine or on several: Ray starts, watches and replaces their processes.

Ray repeats nothing by itself. What a lost replica was asked, another one is asked here; a text goes
on from the tokens that have arrived, since the same tokens follow wherever it is written.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from functools import partial
from hashlib import sha256
from threading import Thread
from typing import Any, TypeVar

from gpt2.engine.cluster import (
    apart,
    fitting,
    reason,
    start_ray,
    start_serve,
    stop_ray,
    tried,
    wait_for_room,
)
from gpt2.engine.replica import Replica, Settings
from gpt2.engine.scheduler import Closed
from gpt2.engine.stream import Stream

log = logging.getLogger(__name__)
Result = TypeVar("Result")
Arguments = Callable[[list[Any]], tuple[Any, ...]]

WATCH_SECONDS = 10  # from one look at the replicas to the next, and for an answer
TRIES = 2  # replicas that may be lost over one request in a row, with nothing new between
MOST = 5  # and in all, over a text of which something arrives each time
ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
GIVEN_UP = (
    "the processes that hold the models ended again and again over this request; it is given up"
)


class Replicas:
    """So many processes with the same models. Any number of threads may ask."""

    def __init__(self, settings: Settings, count: int, *, kind: type[Replica] = Replica) -> None:
        """Start them, and wait until they have loaded their models.

        With RAY_ADDRESS they run in that cluster and stay there; the next such page renews them.

        Raises:
            ValueError: Ray is missing, or the models can't be loaded.
            ConnectionError: no cluster answers at RAY_ADDRESS, or it has no room.
        """
        self.settings, self.count, self._kind = settings, count, kind
        self.name = f"gpt2-{sha256(repr((settings, count)).encode()).hexdigest()[:8]}"
        self._own = start_ray("--replicas", "ray[serve]")
        start_serve()
        self._loop, self._closing = asyncio.new_event_loop(), False
        Thread(target=self._loop.run_forever, name="replicas", daemon=True).start()
        try:
            self._handle = self._deploy()
        except BaseException:
            self.close()
            raise
        self.alive, self.writing = True, 0  # whether they answer; texts on their way
        self._watching = self._run(self._watch())

    def renew(self) -> None:
        """Replace one after another by one that loads what the files hold now; texts go on.

        Raises:
            ValueError: the models can't be loaded any more; the other replicas stay.
        """
        self._deploy()

    def close(self) -> None:
        """Ask no more. A Ray of this process's own ends; a cluster's replicas stay."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        stop_ray(self._own)

    async def _end(self) -> None:
        """Tell who waits that nothing more comes."""
        self._closing = True
        asked = asyncio.all_tasks() - {asyncio.current_task()}  # the watch at least
        for task in asked:
            task.cancel()
        await asyncio.wait(asked, timeout=1)
        self._loop.stop()

    def _deploy(self) -> Any:
        """Whatever runs under this name is replaced, one process after another."""
        import ray
        from ray import serve
        from ray.serve.config import RequestRouterConfig

        settings, room = self.settings, ray.cluster_resources()
        share, gpus = (room.get(kind, 0) / self.count for kind in ("CPU", "GPU"))
        wanted = {"CPU": fitting(share)}
        if gpus and settings.device in ("auto", "cuda"):
            wanted["GPU"] = fitting(gpus)
        rows = settings.limits.rows
        deployment = serve.deployment(self._kind).options(
            name="replica",
            num_replicas=self.count,
            ray_actor_options={f"num_{kind.lower()}s": part for kind, part in wanted.items()},
            max_ongoing_requests=4 * rows,
            graceful_shutdown_timeout_s=settings.limits.seconds + 5,
            request_router_config=RequestRouterConfig(request_router_class=ROUTER),
        )
        bound = deployment.bind(settings, threads=max(1, int(share)))
        target = serve.RunTarget(bound, name=self.name, route_prefix=None)
        new = self.name not in serve.status().applications
        run = partial(serve.run_many, [target], wait_for_applications_running=False)
        (handle,) = apart(run).result()
        try:
            wait_for_room(self._runs, wanted, lambda: "to be scheduled" in self._said())
        except ConnectionError:
            if new:  # else it is there for another page
                serve.delete(self.name, _blocking=False)
            raise
        return handle

    def _runs(self) -> bool:
        """Whether all replicas have loaded their models.

        Raises:
            ValueError: they can't.
        """
        from ray import serve

        application = serve.status().applications[self.name]
        if application.status == "DEPLOY_FAILED":
            raise ValueError(reason(f"{application.message}\n{self._said()}"))
        return application.status == "RUNNING"

    def _said(self) -> str:
        """What Ray says of how the replicas are."""
        from ray import serve

        deployed = serve.status().applications[self.name].deployments.get("replica")
        return deployed.message if deployed else ""

    # --- who asks -------------------------------------------------------------------------------

    def call(self, method: str, *args: Any, key: object = None) -> Any:
        """The answer of a replica's method.

        Args:
            key: requests with the same one meet the same replica, as long as it lives.

        Raises:
            Exception: what the method raised.
            RuntimeError: the request is given up, or all are closed.
        """
        try:
            return self._run(self._call(method, args, key)).result()
        except CancelledError:
            raise Closed from None

    def follow(self, method: str, args: Arguments, key: object) -> Stream:
        """What a replica's method yields, in lists; another goes on where one is lost.

        Args:
            args: for the method, given what has arrived so far; it begins with that again.
            key: as of call.
        """
        stream = _Followed()
        stream.task = self._run(self._follow(stream, method, args, key))
        return stream

    async def _watch(self) -> None:
        """Ask, every few seconds, whether there is one that answers."""
        while True:
            try:
                await asyncio.wait_for(self._call("device", (), None), WATCH_SECONDS)
                self.alive = True
            except Exception:
                self.alive = False
            await asyncio.sleep(WATCH_SECONDS)

    def _run(self, work: Coroutine[Any, Any, Result]) -> "Future[Result]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _ask(self, method: str, key: object, args: tuple[Any, ...], *, stream: bool = False) -> Any:
        session = sha256(repr(key).encode()).hexdigest() if key is not None else secrets.token_hex()
        handle = self._handle.options(method_name=method, stream=stream, session_id=session)
        return handle.remote(*args)

    async def _call(self, method: str, args: tuple[Any, ...], key: object) -> Any:
        for _ in range(TRIES):
            with tried():
                return await self._ask(method, key, args)
        raise RuntimeError(GIVEN_UP)

    async def _follow(self, stream: Stream, method: str, args: Arguments, key: object) -> None:
        arrived: list[Any] = []
        tries = 0
        self.writing += method == "write"
        try:
            for _ in range(MOST):
                before = len(arrived)
                with tried():
                    await self._take(stream, method, args(arrived), key, arrived)
                    return stream.end()
                tries = 1 if len(arrived) > before else tries + 1
                if tries == TRIES:
                    break
            raise RuntimeError(GIVEN_UP)
        except asyncio.CancelledError:  # mostly by who listened, and then nobody reads this
            stream.end(Closed() if self._closing else RuntimeError(GIVEN_UP))
            raise
        except Exception as error:
            stream.end(error)
        finally:
            self.writing -= method == "write"

    async def _take(
        self,
        stream: Stream,
        method: str,
        args: tuple[Any, ...],
        key: object,
        arrived: list[Any],
    ) -> None:
        """Hand over what a replica yields but for what has arrived before."""
        known, answer = len(arrived), self._ask(method, key, args, stream=True)
        try:
            async for some in answer:
                news, known = some[known:], max(0, known - len(some))
                arrived += news
                for one in news:
                    stream.put(one)
        except asyncio.CancelledError:  # who listened has left
            answer.cancel()
            raise


class _Followed(Stream):
    """A stream whose end is told to the replica."""

    task: "Future[None]"

    def close(self) -> None:
        super().close()
        self.task.cancel()
