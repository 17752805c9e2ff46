"""The models that can be asked for: found by name, loaded once, the oldest forgotten.

Imports: torch.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from gpt2 import fast, weights
from gpt2.classifier import GPT2Classifier
from gpt2.config import SIZES
from gpt2.conversion import receipt
from gpt2.model import GPT2, parameter_count
from gpt2.tokenizer import ENDOFTEXT, Tokenizer, load_tokenizer
from gpt2.weights import hub

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model in memory with what it was loaded from, and what that was when it was loaded."""

    name: str
    directory: Path
    about: dict
    backbone: GPT2
    classifier: GPT2Classifier | None
    tokenizer: Tokenizer

    @property
    def start_id(self) -> int:
        """The token that a text is conditioned on, <|endoftext|> in GPT-2's own vocabulary.

        Raises:
            ValueError: the vocabulary has none.
        """
        if self.tokenizer.start_id is None:
            raise ValueError(
                f"the vocabulary of {self.name} has no token that a text begins with "
                f"({ENDOFTEXT} or a bos_token), so this model needs a text to go on from"
            )
        return self.tokenizer.start_id


class Library:
    """Language models and classifiers by name, the default of each kind first. Thread-safe."""

    def __init__(
        self,
        model: str,
        classifier: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        keep: int,
    ) -> None:
        """List these two and all in checkpoints/, and load these two.

        Args:
            model, classifier: names in checkpoints/ or directories.
            keep: models of each kind kept in memory.

        Raises:
            FileNotFoundError, ValueError: one of the two can't be loaded.
        """
        self.device, self.dtype, self._keep = device, dtype, keep
        self._directories: dict[str, Path] = {}
        self._labelled: set[str] = set()  # the names that are classifiers
        self._loaded: dict[str, Loaded] = {}  # in the order of last use
        self._lock, self._reading = threading.Lock(), threading.Lock()
        first = self._add(hub.find_directory(model), name=model if model in SIZES else "")
        second = self._add(hub.find_directory(classifier))
        if first in self._labelled:
            raise ValueError(f"{model} is a classifier; --model takes a language model")
        if second not in self._labelled:
            raise ValueError(
                f"{classifier} is a language model, it names no labels; --classifier takes a "
                "classifier, as finetune_agnews.py makes one"
            )
        for path in sorted(hub.CHECKPOINTS.glob(f"[!.]*/{weights.CONFIG_FILE}")):
            try:
                self._add(path.parent)
            except (OSError, ValueError) as error:
                log.warning("left out: %s", error)
        for name in (first, second):  # whoever starts the page gave these paths, and may read them
            self._remember(name, self._read(name))

    def _add(self, directory: Path, *, name: str = "") -> str:
        for earlier, known in self._directories.items():
            if known == directory:
                return earlier
        name = name or directory.name
        while name in self._directories:
            name += "'"
        config = weights.read_config(directory)
        self._directories[name] = directory
        if config.labels:
            self._labelled.add(name)
        return name

    @property
    def models(self) -> list[str]:
        """Names of language models."""
        return [name for name in self._directories if name not in self._labelled]

    @property
    def classifiers(self) -> list[str]:
        """Names of classifiers."""
        return [name for name in self._directories if name in self._labelled]

    def get(self, name: str) -> Loaded:
        """A model by name, loaded now if it is not in memory.

        Raises:
            ValueError: no such name, or it can't be loaded; no path of this machine is told.
        """
        if name not in self._directories:
            raise ValueError(f"no model {name!r}; there are: {', '.join(self._directories)}")
        if loaded := self._in_memory(name):
            return loaded
        with self._reading, self._unlocated(name):  # one at a time; others can be had meanwhile
            return self._in_memory(name) or self._remember(name, self._read(name))

    @contextmanager
    def _unlocated(self, name: str) -> Iterator[None]:
        """Have an error speak of the model by its name and not by its place on this machine."""
        try:
            yield
        except (OSError, ValueError) as error:
            words = str(error)
            if isinstance(error, OSError) and error.filename:
                words = f"{Path(error.filename).name}: {error.strerror}"
            raise ValueError(words.replace(str(self._directories[name]), name)) from None

    def _in_memory(self, name: str) -> Loaded | None:
        with self._lock:
            loaded = self._loaded.pop(name, None)
            if loaded is not None:
                self._loaded[name] = loaded  # used last
            return loaded

    def _remember(self, name: str, loaded: Loaded) -> Loaded:
        with self._lock:
            self._loaded[name] = loaded
            kind = self.classifiers if name in self._labelled else self.models
            in_memory = [other for other in self._loaded if other in kind]
            for old in in_memory[: -self._keep]:
                del self._loaded[old]
            return loaded

    def _read(self, name: str) -> Loaded:
        directory, place = self._directories[name], {"device": self.device, "dtype": self.dtype}
        start = time.perf_counter()
        about = self._about(name)
        tokenizer = load_tokenizer(directory, rows=weights.read_config(directory).vocab_size)
        weights.check_receipt(directory)
        classifier = None
        if name in self._labelled:
            classifier = weights.load_classifier(directory, **place)
            backbone = classifier.transformer
        else:
            backbone = weights.load_language_model(directory, **place)
        backbone = fast.prepare(backbone)
        if classifier is not None:
            classifier.transformer = backbone
        log.info("loaded %s in %.1f s", name, time.perf_counter() - start)
        return Loaded(name, directory, about, backbone, classifier, tokenizer)

    def describe(self, name: str) -> dict:
        """A model's shape and fingerprint: as it was loaded, or as its files are now.

        Raises:
            ValueError: it is not in memory and its files can't be read.
        """
        with self._lock:
            loaded = self._loaded.get(name)
        if loaded is not None:
            return loaded.about
        with self._unlocated(name):
            return self._about(name)

    def _about(self, name: str) -> dict:
        directory = self._directories[name]
        config = weights.read_config(directory)
        return {
            "name": name,
            "parameters": parameter_count(config),
            "layers": config.n_layer,
            "heads": config.n_head,
            "context": config.n_ctx,
            "dtype": str(self.dtype).removeprefix("torch."),
            "sha256": weights.hash_weights(directory),
            "receipt": receipt.short(directory),
        }
