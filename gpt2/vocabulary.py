"""The vocabulary of a byte-level BPE, in every form in which one is written down.

OpenAI: encoder.json and vocab.bpe. Hugging Face: the same two as vocab.json and merges.txt, or both
in tokenizer.json; what was added later also stands in tokenizer_config.json and added_tokens.json.
What counts is the entries, not how the JSON is spelt.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2.added_tokens import AddedToken, check_ids, parse_added, special_tokens, text_of
from gpt2.checks import refuse_pointer
from gpt2.tokenizer_json import parse_whole

ENDOFTEXT = "<|endoftext|>"

# Our names -> OpenAI's.
OPENAI_NAMES = {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"}
PAIR = tuple(OPENAI_NAMES)
WHOLE_FILE, SETTINGS_FILE, ADDED_FILE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
)
SPECIAL_FILE = "special_tokens_map.json"
FILES = (*PAIR, WHOLE_FILE, SETTINGS_FILE, ADDED_FILE, SPECIAL_FILE)

_NO_LENGTH = 10**9  # transformers writes 1e30 where there is no longest text


def _byte_symbols() -> dict[str, int]:
    """The 256 characters in which vocabularies spell bytes (openai/gpt-2, src/encoder.py)."""
    itself = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in itself]
    symbols = {chr(byte): byte for byte in itself}
    return symbols | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTES = _byte_symbols()


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What the files of a directory say.

    Args:
        ids: entries in byte symbols -> their ids.
        merges: pairs of entries, the first is merged first.
        added: by id.
        start_id: the token that a text may be conditioned on, None if there is none.
        end_id: the token that ends a text, None if there is none.
        unknown_id: stands for bytes that have no entry, None if nothing does.
        prefix_space: a blank is put before each text.
        normal_form: of Unicode, that text is brought into; empty for none.
        whole_words: a word that is an entry is taken whole, whatever the merges say.
        max_length: tokens of the texts that the model was trained on, None if it is not said.

    Raises:
        ValueError: a merge is of entries that are not there.
    """

    ids: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    added: Mapping[int, AddedToken]
    start_id: int | None = None
    end_id: int | None = None
    unknown_id: int | None = None
    prefix_space: bool = False
    normal_form: str = ""
    whole_words: bool = False
    max_length: int | None = None

    def __post_init__(self) -> None:
        ids = self.ids
        for number, (left, right) in enumerate(self.merges, start=1):
            if left in ids and right in ids and left + right in ids:
                continue
            entry = next(entry for entry in (left, right, left + right) if entry not in ids)
            raise ValueError(f"merge {number}, {left!r} {right!r}: no entry {entry!r}")

    @property
    def size(self) -> int:
        """The highest id + 1."""
        return max((*self.ids.values(), *self.added), default=-1) + 1

    def words(self) -> list[bytes | None]:
        """The bytes of each id, None for an id that has no entry.

        Raises:
            ValueError: this is no byte-level BPE.
        """
        found: list[bytes | None] = [None] * self.size
        for token, added in self.added.items():
            found[token] = added.text.encode()
        for entry, token in self.ids.items():
            if token in self.added:
                continue
            try:
                found[token] = bytes(map(BYTES.__getitem__, entry))
            except KeyError as error:
                raise ValueError(
                    f"entry {entry!r} (id {token}) is not written in the 256 symbols of a "
                    "byte-level BPE, which GPT-2's vocabularies are"
                ) from error
        return found


# --- reading ----------------------------------------------------------------------------------


def find_vocabulary(directory: str | Path) -> tuple[Path, ...]:
    """The files that hold a directory's entries and merges: one or two of them.

    tokenizer.json comes first, as in transformers, which writes it over an older pair.

    Raises:
        FileNotFoundError: there are none, or one of a pair is missing.
        ValueError: one is a git-lfs pointer.
    """
    place = Path(directory)
    for name in (*FILES, *OPENAI_NAMES.values()):
        refuse_pointer(place / name)
    if (place / WHOLE_FILE).is_file():
        return (place / WHOLE_FILE,)
    for names in (PAIR, tuple(OPENAI_NAMES.values())):
        files = tuple(place / name for name in names)
        there = [path for path in files if path.is_file()]
        if len(there) == 1:
            (missing,) = set(files) - set(there)
            raise FileNotFoundError(f"{missing} is missing; it belongs to {there[0].name}")
        if there:
            return files
    raise FileNotFoundError(
        f"{place} has no vocabulary: neither {' and '.join(PAIR)} nor {WHOLE_FILE} nor OpenAI's "
        f"{' and '.join(OPENAI_NAMES.values())}"
    )


def read_vocabulary(directory: str | Path) -> Vocabulary:
    """The vocabulary of a directory.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it is damaged, or no byte-level BPE; the file is named.
    """
    files, place = find_vocabulary(directory), Path(directory)
    whole = files[0].name == WHOLE_FILE
    try:
        raw = _json(files[0])
        if whole:
            ids, merges, read = parse_whole(raw)
        else:
            ids, merges, read = raw, _merge_lines(files[1]), {}
        settings = _optional(place / SETTINGS_FILE)
        names = _optional(place / SPECIAL_FILE) | settings
        added = parse_added(raw if whole else _optional(place / ADDED_FILE), settings, whole=whole)
        check_ids(ids, added)
        special = {
            kind: text_of(names.get(kind)) or ENDOFTEXT for kind in ("bos_token", "eos_token")
        }
        for text in {*special.values(), *special_tokens(names)} & ids.keys():
            added.setdefault(ids[text], AddedToken(text))
        if settings.get("add_bos_token") or settings.get("add_eos_token"):
            raise ValueError(f"{SETTINGS_FILE} puts tokens around every text; GPT-2 does not")
        by_text = {token.text: number for number, token in added.items()}
        start, end = (by_text.get(text) for text in special.values())
        return Vocabulary(
            ids,
            merges,
            added,
            start_id=end if start is None else start,
            end_id=end,
            **(read | _flag(settings, "add_prefix_space", "prefix_space")),
            max_length=_length(settings.get("model_max_length")),
        )
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError | json.JSONDecodeError):
            raise ValueError(f"{files[0]} is damaged, it can't be read: {error}") from error
        where = "" if str(error).startswith(str(place)) else f"{files[0]}: "
        raise ValueError(f"{where}{error}") from error


def read_entries(files: Sequence[Path]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Entries with their ids, and merges, as vocab.json and merges.txt hold them.

    Args:
        files: these two, or a tokenizer.json.
    """
    if len(files) == 1:
        ids, merges, _ = parse_whole(_json(files[0]))
        return ids, merges
    return _json(files[0]), _merge_lines(files[1])


def _json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is not a JSON object")
    return raw


def _optional(path: Path) -> dict[str, Any]:
    return _json(path) if path.is_file() else {}


def _merge_lines(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    merges = []
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if line and not (number == 1 and line.startswith("#version")):
            left, blank, right = line.partition(" ")
            if not blank or " " in right:
                raise ValueError(f"{path}: merge {number} is {line!r}; it must be two entries")
            merges.append((left, right))
    return merges


def _flag(settings: Mapping[str, Any], theirs: str, ours: str) -> dict[str, bool]:
    value = settings.get(theirs)
    return {ours: value} if isinstance(value, bool) else {}


def _length(value: Any) -> int | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if known and 1 <= value < _NO_LENGTH else None
