"""Ray, which runs processes on this machine or on several: it is joined or started here."""

import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import TypeVar

from gpt2.ending import Processes, children, descendants

log = logging.getLogger(__name__)
Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parents[2]
STORE = 128 * 2**20  # bytes of Ray's memory for what processes share; records are smaller
LOOK_SECONDS = 0.2  # from one look to the next whether there is room
STOP_SECONDS = 0.5  # that a Ray of its own may take to end by itself
LONGEST = 300.0  # seconds without room after which it is given up


def start_ray(flag: str, package: str) -> list[int]:
    """Join the cluster at RAY_ADDRESS, or start a Ray of this process's own.

    Args:
        flag: that asked for it.
        package: that has it.

    Returns:
        The processes of its own.

    Raises:
        ValueError: Ray is missing.
        ConnectionError: no cluster answers.
    """
    address = os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would phone home
    # Or a thread that still waits for Ray after it was left would start another one.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    if address is None:  # nobody else on this machine is to run code in it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ImportError:
        raise ValueError(
            f'{flag} needs Ray, which is missing here; pip install "{package}"'
        ) from None
    if ray.is_initialized():
        return []
    before = children(os.getpid())
    own = {} if address else {"include_dashboard": False, "object_store_memory": STORE}
    init = partial(
        ray.init,
        address=address or "local",
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        log_to_driver=False,
        logging_level=logging.ERROR,
        **own,
    )
    try:
        apart(init).result()
    except (ConnectionError, RuntimeError) as error:
        raise ConnectionError(
            f"no Ray cluster answers at RAY_ADDRESS {address} ({' '.join(str(error).split())}); "
            "start one with ray start --head"
        ) from None
    return [pid for pid in children(os.getpid()) if pid not in before]


def start_serve() -> None:
    """The part of Ray that keeps replicas; of its servers, none."""
    from ray import serve

    logger = logging.getLogger("ray.serve")
    logger.setLevel(logging.ERROR)
    options = {"proxy_location": "Disabled", "logging_config": {"log_level": "ERROR"}}
    apart(partial(serve.start, **options)).result()
    logger.setLevel(logging.ERROR)


def stop_ray(own: Iterable[int]) -> None:
    """Leave the cluster; a Ray of this process's own ends with all that it has started.

    Args:
        own: as start_ray returned them. Ray takes its time, and leaves some of what they have
            started to end by itself; here nothing in them is to be kept.
    """
    import ray

    started = Processes(pid for one in own for pid in (one, *descendants(one)))
    left = apart(ray.shutdown)
    if own:
        wait([left], STOP_SECONDS)
        started.end(grace=0)
    left.result()


def fitting(share: float) -> float:
    """What of a resource one replica reserves, so that all of them fit whatever machines there are.

    Args:
        share: of all that there is, if it were divided evenly.
    """
    return 1 if share >= 1 else share / 2


def apart(work: Callable[[], Result]) -> "Future[Result]":
    """Work done in a thread: amid Ray's own code the main thread would answer no signal.

    The thread stays, since the system ends a Ray whose starting thread has ended.
    """
    result: Future[Result] = Future()

    def do() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)
        Event().wait()

    Thread(target=do, name="Ray", daemon=True).start()
    return result


def iterated_apart(parts: Iterable[Result]) -> Iterator[Result]:
    """What comes of an iterator of Ray's, which runs apart too."""
    found: SimpleQueue[list[Result]] = SimpleQueue()  # of one each, and at the end of none

    def put() -> None:
        try:
            for part in parts:
                found.put([part])
        finally:
            found.put([])

    done = apart(put)
    while part := found.get():
        yield part[0]
    done.result()


def wait_for_room(
    runs: Callable[[], bool], wanted: Mapping[str, float], lacks_room: Callable[[], bool]
) -> None:
    """Wait until something runs in the cluster, and say in a line if that waits for room.

    Args:
        runs: whether it does.
        wanted: of the cluster's resources, for a part of it.
        lacks_room: whether a part of it has waited for them for a while.

    Raises:
        ConnectionError: there was no room for LONGEST seconds.
    """
    since = 0.0
    while not runs():
        if not lacks_room():
            since = 0.0
        elif not since:
            since = time.monotonic()
            log.warning("%s; waiting up to %g s for others to end", room(wanted), LONGEST)
        elif time.monotonic() - since > LONGEST:
            raise ConnectionError(
                f"{room(wanted)}, for {LONGEST:g} s; end what else runs there, add a machine, or "
                "ask for less"
            )
        time.sleep(LOOK_SECONDS)


def room(wanted: Mapping[str, float]) -> str:
    """What is wanted and what there is, in words."""
    import ray

    free, all_of = ray.available_resources(), ray.cluster_resources()
    words = (
        f"{amount:g} {kind} ({free.get(kind, 0):g} of {all_of.get(kind, 0):g} are free)"
        for kind, amount in wanted.items()
    )
    return f"the Ray cluster has no room for a replica, which needs {' and '.join(words)}"


@contextmanager
def tried() -> Iterator[None]:
    """Goes on behind the block if a replica was lost in it; what a method raised is raised."""
    from ray import exceptions
    from ray.serve.exceptions import ReplicaUnavailableError

    try:
        yield
    except exceptions.RayTaskError as error:
        raise error.cause from None
    except (
        exceptions.RayActorError,
        exceptions.ObjectLostError,
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        ReplicaUnavailableError,
    ) as error:
        log.warning("a replica was lost (%s); another one is asked", type(error).__name__)


def reason(said: str) -> str:
    """The error within Ray's account of a failure."""
    found = re.findall(r"^\s*(?:\w+\.)*\w*(?:Error|Exception)(?:\(\w+\))?: (.+)$", said, re.M)
    return found[-1] if found else " ".join(said.split())
