"""What can be asked for: the models' names, shapes and vocabularies. No weights are read here."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpt2 import weights
from gpt2.checks import check_text
from gpt2.config import SIZES, GPT2Config
from gpt2.conversion import receipt
from gpt2.engine.request import Limits
from gpt2.model import parameter_count
from gpt2.tokenizer import ENDOFTEXT, Tokenizer, load_tokenizer
from gpt2.visible import drawn
from gpt2.weights import hub

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """What a directory says of its model: its configuration and its vocabulary."""

    config: GPT2Config
    tokenizer: Tokenizer


class Catalog:
    """Language models and classifiers by name, the default of each kind first. Thread-safe."""

    def __init__(self, model: str, classifier: str, limits: Limits) -> None:
        """List these two and all in checkpoints/.

        Args:
            model, classifier: names in checkpoints/ or directories.

        Raises:
            FileNotFoundError, ValueError: one of the two is none, or of the other kind.
        """
        self.limits = limits
        self._directories: dict[str, Path] = {}
        self._labelled: set[str] = set()  # the names that are classifiers
        self._entries: dict[str, Entry] = {}  # without a lock, which a fork might find taken
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

    # --- which models there are ---------------------------------------------------------------

    @property
    def models(self) -> list[str]:
        """Names of language models."""
        return [name for name in self._directories if name not in self._labelled]

    @property
    def classifiers(self) -> list[str]:
        """Names of classifiers."""
        return [name for name in self._directories if name in self._labelled]

    def directory(self, name: str) -> Path:
        """Where a model is.

        Raises:
            ValueError: no such name.
        """
        if name not in self._directories:
            raise ValueError(f"no model {name!r}; there are: {', '.join(self._directories)}")
        return self._directories[name]

    def read(self, name: str) -> Entry:
        """What a model's directory says now; from here on it is what the catalog says.

        Raises:
            FileNotFoundError, ValueError: no such name, or a file is missing or damaged.
        """
        directory = self.directory(name)
        config = weights.read_config(directory)
        entry = Entry(config, load_tokenizer(directory, rows=config.vocab_size))
        self._entries[name] = entry
        return entry

    def entry(self, name: str) -> Entry:
        """What a model's directory said when it was last read.

        Raises:
            ValueError: as read; no path of this machine is told.
        """
        entry = self._entries.get(name)
        if entry is not None:
            return entry
        with self.unlocated(name):
            return self.read(name)

    @contextmanager
    def unlocated(self, name: str) -> Iterator[None]:
        """Have an error speak of a model by its name and not by its place on this machine."""
        directory = self.directory(name)
        try:
            yield
        except (OSError, ValueError) as error:
            words = str(error)
            if isinstance(error, OSError) and error.filename:
                words = f"{Path(error.filename).name}: {error.strerror}"
            raise ValueError(words.replace(str(directory), name)) from None

    def smaller(self, name: str, *, times: int) -> str | None:
        """The smallest language model of the same vocabulary that is so many times smaller."""
        most = parameter_count(self.config(name)) / times
        found: list[tuple[int, str]] = []
        for other in self.models:
            try:
                count = parameter_count(self.config(other))
                if count <= most and self.tokenizer(other).words == self.tokenizer(name).words:
                    found.append((count, other))
            except ValueError:
                continue  # it can't be read, which is told where it is asked for
        return min(found)[1] if found else None

    def describe(self, name: str, *, dtype: str) -> dict[str, str | int]:
        """A model's shape and fingerprint as its files are now.

        Args:
            dtype: number type of its matrices in memory.

        Raises:
            OSError, ValueError: the files can't be read.
        """
        directory = self.directory(name)
        config = weights.read_config(directory)
        return {
            "name": name,
            "parameters": parameter_count(config),
            "layers": config.n_layer,
            "heads": config.n_head,
            "context": config.n_ctx,
            "dtype": dtype,
            "sha256": weights.hash_weights(directory),
            "receipt": receipt.short(directory),
        }

    # --- texts and tokens ---------------------------------------------------------------------

    def config(self, model: str) -> GPT2Config:
        """A model's configuration."""
        return self.entry(model).config

    def tokenizer(self, model: str) -> Tokenizer:
        """A model's vocabulary."""
        return self.entry(model).tokenizer

    def start_id(self, model: str) -> int:
        """The token that a text is conditioned on, <|endoftext|> in GPT-2's own vocabulary.

        Raises:
            ValueError: the vocabulary has none.
        """
        start = self.tokenizer(model).start_id
        if start is None:
            raise ValueError(
                f"the vocabulary of {model} has no token that a text begins with ({ENDOFTEXT} or "
                "a bos_token), so this model needs a text to go on from"
            )
        return start

    def check_text(self, text: str, *, what: str = "prompt") -> str:
        """A text, once it is known to be one and short enough.

        Raises:
            ValueError: it is not, in one sentence.
        """
        check_text(text)
        if len(text) > self.limits.prompt_chars:
            raise ValueError(
                f"the {what} has {len(text):,} characters; the limit is "
                f"{self.limits.prompt_chars:,}; shorten it"
            )
        return text

    def encode(self, text: str, *, model: str) -> list[int]:
        """A text's tokens, the one that texts begin with for an empty one."""
        return self.tokenizer(model).encode(self.check_text(text)) or [self.start_id(model)]

    def decode(self, ids: Sequence[int], *, model: str) -> str:
        """What tokens say together; bytes that make no character show as U+FFFD."""
        return self.tokenizer(model).decode(ids)

    def pieces(self, ids: Sequence[int], *, model: str) -> list[str]:
        """The visible forms of tokens."""
        tokenizer = self.tokenizer(model)
        return [tokenizer.piece(token) for token in ids]

    def drawn(self, ids: Sequence[int], *, model: str) -> list[str]:
        """The tokens' own texts, as strips and pictures show them."""
        tokenizer = self.tokenizer(model)
        return [tokenizer.drawn(token) for token in ids]

    def speller(self, *, model: str) -> Callable[[int], str]:
        """Spells a text token by token: what each completes, as a strip shows it.

        Together the parts are the text. A token that ends amid a character has none of it.
        """
        decoder = self.tokenizer(model).decoder()
        return lambda token: drawn(decoder.feed(token))

    def texts(self, ids: Sequence[int], *, model: str) -> list[str | None]:
        """The tokens' own characters, None for part of a character."""
        tokenizer = self.tokenizer(model)
        return [tokenizer.text(token) for token in ids]

    def words(self, ids: Sequence[int], *, model: str) -> list[str]:
        """The tokens for a table: their own characters, the visible form of part of one."""
        tokenizer = self.tokenizer(model)
        texts = ((token, tokenizer.text(token)) for token in ids)
        return [tokenizer.piece(token) if text is None else text for token, text in texts]
