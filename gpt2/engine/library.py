"""Models in memory: loaded when they are asked for, the one used longest ago forgotten."""

import logging
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch

from gpt2 import fast, weights
from gpt2.classifier import GPT2Classifier
from gpt2.engine.catalog import Catalog
from gpt2.engine.scheduler import Scheduler
from gpt2.model import GPT2
from gpt2.records import Pulse

log = logging.getLogger(__name__)


class Models(Protocol):
    """Models that can be asked, in this process (Library) or in others."""

    catalog: Catalog
    device: torch.device
    close: Callable[[], object]

    def get(self, name: str) -> object:
        """Have a model in memory; a ValueError if it can't be."""

    def describe(self, name: str) -> dict[str, str | int]:
        """A model's shape and fingerprint; a ValueError if its files can't be read."""

    def pulse(self) -> Pulse:
        """How those who compute are, and what they have done; at once, whatever they do."""


@dataclass(frozen=True)
class Weights:
    """A model as its files have it, and what they said of it when they were read."""

    about: dict[str, str | int]
    model: GPT2 | GPT2Classifier


def read_weights(
    catalog: Catalog,
    name: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    place: torch.device | None = None,
) -> Weights:
    """Read a model's files, in a thread of its own that takes its workers along when it ends.

    Args:
        device, dtype: where, and in which numbers, it is to compute.
        place: where it is until then; on the device itself if that is None.

    Raises:
        FileNotFoundError, ValueError: it can't be loaded.
    """

    def read() -> Weights:
        directory = catalog.directory(name)
        about = catalog.describe(name, dtype=str(dtype).removeprefix("torch."))
        labels = catalog.read(name).config.labels
        weights.check_receipt(directory)
        where, read_in = place or device, fast.computed_in(dtype, device)
        if not labels:
            model = weights.load_language_model(directory, device=where, dtype=read_in)
            return Weights(about, fast.stored(model, dtype))
        reader = weights.load_classifier(directory, device=where, dtype=read_in)
        reader.transformer = fast.stored(reader.transformer, dtype)
        return Weights(about, reader)

    with ThreadPoolExecutor(1, "reading") as apart:
        return apart.submit(read).result()


@dataclass(frozen=True)
class Loaded:
    """A model in memory, and what it was when it was loaded."""

    name: str
    about: dict[str, str | int]
    backbone: GPT2
    classifier: GPT2Classifier | None
    decoder: fast.Decoder


class Library:
    """The weights of a catalog's models, and the thread that computes with them. Thread-safe."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        device: torch.device,
        dtype: torch.dtype,
        keep: int,
        held: dict[str, Weights] | None = None,
    ) -> None:
        """Load the default of each kind.

        Args:
            keep: models of each kind kept in memory.
            held: models that were read before, by name; each is taken out when it is used.

        Raises:
            FileNotFoundError, ValueError: one of the two can't be loaded.
        """
        self.catalog, self.device, self.dtype, self._keep = catalog, device, dtype, keep
        self._held = {} if held is None else held
        self._loaded: dict[str, Loaded] = {}  # in the order of last use
        self._smaller: dict[str, str | None] = {}  # whose guesses are tried, by model
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self.scheduler = Scheduler(catalog.limits.rows)
        # called at exit at the latest
        self.close: Callable[[], object] = weakref.finalize(self, self.scheduler.close)
        for name in (catalog.models[0], catalog.classifiers[0]):
            self._remember(self._read(name))  # whoever starts the page may read their paths

    def get(self, name: str) -> Loaded:
        """A model by name, loaded now if it is not in memory.

        Raises:
            ValueError: no such name, or it can't be loaded; no path of this machine is told.
        """
        self.catalog.directory(name)
        if loaded := self._in_memory(name):
            return loaded
        with self._reading, self.catalog.unlocated(name):  # one at a time; others can be had
            return self._in_memory(name) or self._remember(self._read(name))

    def smaller(self, name: str) -> fast.Decoder | None:
        """A much smaller model of the same vocabulary, which guesses what this one says.

        None if there is none that is worth it, or it can't be loaded.
        """
        if not self.get(name).decoder.in_parts:
            return None
        if name not in self._smaller:
            self._smaller[name] = self.catalog.smaller(name, times=fast.SMALLER)
        other = self._smaller[name]
        try:
            return None if other is None else self.get(other).decoder
        except ValueError as error:
            log.warning("%s is not guessed by %s: %s", name, other, error)
            self._smaller[name] = None
            return None

    def _in_memory(self, name: str) -> Loaded | None:
        with self._lock:
            loaded = self._loaded.pop(name, None)
            if loaded is not None:
                self._loaded[name] = loaded  # used last
            return loaded

    def _remember(self, loaded: Loaded) -> Loaded:
        with self._lock:
            self._loaded[loaded.name] = loaded
            same_kind = [
                name
                for name, other in self._loaded.items()
                if (other.classifier is None) == (loaded.classifier is None)
            ]
            for old in same_kind[: -self._keep]:
                del self._loaded[old]
            return loaded

    def _read(self, name: str) -> Loaded:
        """Read a model's files, unless they were read before this library was there.

        Not in the model thread, where texts would stand still for as long as that takes; there it
        is made ready.
        """
        start = time.perf_counter()
        found = self._held.pop(name, None) or read_weights(
            self.catalog, name, device=self.device, dtype=self.dtype
        )
        model = found.model.to(self.device)
        classifier = model if isinstance(model, GPT2Classifier) else None
        backbone = model.transformer if isinstance(model, GPT2Classifier) else model
        decoder = self.scheduler.run(lambda: fast.decoder(backbone))
        log.info("loaded %s in %.1f s", name, time.perf_counter() - start)
        return Loaded(name, found.about, backbone, classifier, decoder)

    def describe(self, name: str) -> dict[str, str | int]:
        """A model's shape and fingerprint: as it was loaded, or as its files are now.

        Raises:
            ValueError: it is not in memory and its files can't be read.
        """
        with self._lock:
            loaded = self._loaded.get(name)
        if loaded is not None:
            return loaded.about
        with self.catalog.unlocated(name):
            return self._about(name)

    def pulse(self) -> Pulse:
        """How the model thread is, and what it has done."""
        scheduler, tally = self.scheduler, self.scheduler.tally
        return Pulse(
            alive=scheduler.alive,
            model=self.catalog.models[0],
            classifier=self.catalog.classifiers[0],
            writing=scheduler.writing,
            waiting=scheduler.waiting,
            texts=dict(tally.texts),
            tokens=tally.tokens,
            steps=tally.steps,
            first=tally.first,
        )

    def _about(self, name: str) -> dict[str, str | int]:
        return self.catalog.describe(name, dtype=str(self.dtype).removeprefix("torch."))
