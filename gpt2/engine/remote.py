"""The engine whose models are in other processes: Engine's border, answered by replicas, or by
copies of this process that are lent a GPU.

Names, configurations and vocabularies are read here; no weights are.
"""

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from inspect import isgeneratorfunction
from threading import Thread
from typing import Any, cast

import torch

from gpt2.config import SIZES
from gpt2.engine.catalog import Catalog
from gpt2.engine.engine import Engine
from gpt2.engine.inspector import Inspector
from gpt2.engine.lent import LentGPU, space_lender
from gpt2.engine.replica import Settings
from gpt2.engine.replicas import Replicas
from gpt2.engine.request import Limits, Request
from gpt2.engine.stream import Stream
from gpt2.engine.writer import BaseWriter
from gpt2.lens import Scales, tokens_read
from gpt2.records import Pulse, Trace, Update

log = logging.getLogger(__name__)

Processes = Replicas | LentGPU


class RemoteEngine(Engine):
    """Text in, records out, the same ones as an Engine's."""

    def __init__(self, catalog: Catalog, replicas: Processes) -> None:
        count, each = replicas.count, replicas.settings.limits
        # so many are written and wait in all of them together
        self.limits = replace(each, rows=each.rows * count, queue=each.queue * count)
        self.catalog, self.replicas = catalog, replicas
        self.library = RemoteLibrary(catalog, replicas)
        self.writer = RemoteWriter(self.library, replicas, self.limits)
        self.inspector = cast(Inspector, RemoteInspector(catalog, replicas))

    @classmethod
    def load(
        cls,
        model: str = "mini",
        classifier: str = "mini-agnews",
        *,
        device: str = "auto",
        dtype: str = "auto",
        limits: Limits | None = None,
        replicas: int | None = 2,
    ) -> "RemoteEngine":
        """Start replicas that load what Engine.load does, each within these limits.

        Args:
            model, classifier, device, dtype: as of Engine.load.
            replicas: how many; None for copies of this process that a ZeroGPU Space lends its GPU.

        Raises:
            FileNotFoundError, ValueError, ConnectionError: as Engine.load, or Ray can't be had.
        """
        limits = limits or Limits()
        catalog = Catalog(model, classifier, limits)
        if model not in SIZES:  # those are had by name
            model = str(catalog.directory(catalog.models[0]))
        classifier = str(catalog.directory(catalog.classifiers[0]))
        settings = Settings(model, classifier, device=device, dtype=dtype, limits=limits)
        if replicas is None:
            return cls(catalog, LentGPU(settings, catalog, space_lender()))
        return cls(catalog, Replicas(settings, replicas))

    def renew(self) -> None:
        """Have replicas replaced one after another, with what the model directories hold now.

        Raises:
            ValueError: a model can't be loaded any more; the other replicas stay.
        """
        for name in (*self.catalog.models, *self.catalog.classifiers):
            self.catalog.read(name)
        self.replicas.renew()

    def renew_on_hangup(self) -> None:
        """Have SIGHUP do that, as it has a server read its files again. For the main thread."""

        def renew() -> None:
            try:
                self.renew()
            except (OSError, ValueError) as error:
                log.error("the replicas were not renewed: %s", error)

        signal.signal(signal.SIGHUP, lambda *_: Thread(target=renew, daemon=True).start())


class RemoteLibrary:
    """The models of the replicas."""

    def __init__(self, catalog: Catalog, replicas: Processes) -> None:
        self.catalog, self._replicas = catalog, replicas
        self.device = torch.device(replicas.call("device"))
        self.close: Callable[[], object] = replicas.close
        self._had: set[str] = set()

    def get(self, name: str) -> None:
        """Have a model in memory; what follows is sent there without asking again.

        Raises:
            ValueError: as Library.get.
        """
        self.catalog.directory(name)
        if name not in self._had:
            self._replicas.call("have", name)
            self._had.add(name)

    def describe(self, name: str) -> dict[str, str | int]:
        """As Library.describe."""
        found: dict[str, str | int] = self._replicas.call("describe", name)
        return found

    def pulse(self) -> Pulse:
        """How the replicas are, and what they have written for this page."""
        replicas = self._replicas
        return Pulse(
            alive=replicas.alive,
            model=self.catalog.models[0],
            classifier=self.catalog.classifiers[0],
            writing=replicas.writing,
            replicas=replicas.count,
        )


class RemoteWriter(BaseWriter):
    """Has completions written."""

    def __init__(self, library: RemoteLibrary, replicas: Processes, limits: Limits) -> None:
        super().__init__(library, limits)
        self._replicas = replicas

    def start(
        self,
        request: Request,
        begun: Trace,
        *,
        scales: Scales | None = None,
        forced: Sequence[int] = (),
        spent: float = 0.0,
    ) -> Stream:
        def wanted(arrived: list[Update]) -> tuple[Any, ...]:
            written = tuple(update.step.id for update in arrived)
            begins = max(tuple(forced), written, key=len)
            taken = arrived[-1].seconds if arrived else spent
            return request, begun, scales, begins, taken

        key = begun.model, begun.prompt_ids, begun.seed
        return self._replicas.follow("write", wanted, key)


class RemoteInspector:
    """Every method of Inspector, answered by a replica; the views of a text meet the same one."""

    def __init__(self, catalog: Catalog, replicas: Processes) -> None:
        self._catalog, self._replicas = catalog, replicas

    def tokens_read(self, ids: Sequence[int], *, model: str) -> tuple[int, ...]:
        """As Inspector.tokens_read."""
        return tokens_read(ids, self._catalog.config(model))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        in_parts = isgeneratorfunction(getattr(Inspector, name))

        def ask(*args: Any, **named: Any) -> Any:
            wanted = ("inspector", name, args, named)
            text = args[0] if args else ""
            key = text if isinstance(text, str) else tuple(text), named.get("model")
            if not in_parts:
                return self._replicas.call("ask", *wanted, key=key)
            return self._parts(wanted, key)

        return ask

    def _parts(self, wanted: tuple[Any, ...], key: object) -> Iterator[Any]:
        with self._replicas.follow("ask_parts", lambda _: wanted, key) as parts:
            yield from parts.updates()
