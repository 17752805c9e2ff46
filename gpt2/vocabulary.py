"""The vocabulary of a byte-level BPE, in every form in which one is written down.

OpenAI: encoder.json and vocab.bpe. Hugging Face: the same two as vocab.json and merges.txt, or both
in tokenizer.json; what was added later also stands in tokenizer_config.json and added_tokens.json.
What counts is the entries, not how the JSON is spelt.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2.checks import refuse_pointer

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
_NORMAL_FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def _byte_symbols() -> dict[str, int]:
    """The 256 characters in which vocabularies spell bytes (openai/gpt-2, src/encoder.py)."""
    itself = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in itself]
    symbols = {chr(byte): byte for byte in itself}
    return symbols | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTES = _byte_symbols()


@dataclass(frozen=True)
class AddedToken:
    """A token that stands for its own text wherever that occurs, and takes no part in merges.

    Args:
        text: what it stands for.
        lstrip, rstrip: it swallows blanks before it, after it.
        single_word: not within a word.
    """

    text: str
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False


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
            ids, merges, read = _whole(raw)
        else:
            ids, merges, read = raw, _merge_lines(files[1]), {}
        settings = _optional(place / SETTINGS_FILE)
        names = _optional(place / SPECIAL_FILE) | settings
        added = _added(raw if whole else _optional(place / ADDED_FILE), settings, whole=whole)
        _check_ids(ids, added)
        special = {kind: _name(names.get(kind)) or ENDOFTEXT for kind in ("bos_token", "eos_token")}
        for text in {*special.values(), *_special(names)} & ids.keys():
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
        ids, merges, _ = _whole(_json(files[0]))
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


def _whole(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]], dict[str, Any]]:
    """Entries, merges and settings of a tokenizer.json."""
    model = raw.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise ValueError("it has no model with a vocab of entries and ids, so it is no BPE")
    if model.get("type", "BPE") != "BPE" or model.get("byte_fallback"):
        kind = "BPE with byte_fallback" if model.get("byte_fallback") else model["type"]
        raise ValueError(f"its model is {kind}; only a byte-level BPE, as GPT-2's, can be read")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise ValueError(f"its model has a {name} ({model[name]!r}); a byte-level BPE has none")
    steps = _steps(raw.get("pre_tokenizer"), "pretokenizers")
    if [step.get("type") for step in steps] != ["ByteLevel"] or not steps[0].get("use_regex", True):
        kinds = ", ".join(str(step.get("type")) for step in steps) or "nothing"
        raise ValueError(f"it splits text with {kinds}; only GPT-2's ByteLevel can be read")
    forms = [str(step.get("type")) for step in _steps(raw.get("normalizer"), "normalizers")]
    if forms[1:] or not set(forms) <= set(_NORMAL_FORMS):
        raise ValueError(
            f"it changes text with {', '.join(forms)} first; only one of "
            f"{', '.join(_NORMAL_FORMS)} can be done here"
        )
    for step in _steps(raw.get("post_processor"), "processors"):
        named = any("SpecialToken" in part for part in step.get("single", ()))
        if named or step.get("type") not in ("ByteLevel", "TemplateProcessing"):
            raise ValueError("it puts tokens around every text (post_processor); GPT-2 does not")
    ids, unknown = model["vocab"], model.get("unk_token")
    settings = {
        "prefix_space": bool(steps[0].get("add_prefix_space")),
        "normal_form": forms[0] if forms else "",
        "whole_words": bool(model.get("ignore_merges")),
        "unknown_id": ids.get(unknown) if unknown else None,
    }
    return ids, [_pair(merge, i) for i, merge in enumerate(model.get("merges") or (), 1)], settings


def _steps(part: Any, inner: str) -> list[dict[str, Any]]:
    """A part of tokenizer.json as a list of its steps."""
    if part is None:
        return []
    return part[inner] if part.get("type") == "Sequence" else [part]


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


def _pair(merge: Any, number: int) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) for p in parts):
        raise ValueError(f"merge {number} is {merge!r}; it must be two entries")
    return parts[0], parts[1]


def _added(
    source: Mapping[str, Any], settings: Mapping[str, Any], *, whole: bool
) -> dict[int, AddedToken]:
    """The added tokens: of tokenizer.json or added_tokens.json, and of tokenizer_config.json."""
    rows: list[tuple[Any, Any]]
    if whole:
        rows = [(row.get("id"), row) for row in source.get("added_tokens") or ()]
    else:
        rows = [(token, text) for text, token in source.items()]
    rows += [
        (int(token) if str(token).isdecimal() else token, row)
        for token, row in (settings.get("added_tokens_decoder") or {}).items()
    ]
    found: dict[int, AddedToken] = {}
    for token, row in rows:
        text = _name(row)
        if not text:
            raise ValueError(f"the added token of id {token!r} has no text")
        flags = row if isinstance(row, dict) else {}
        known = found.get(token)
        if known and known.text != text:
            raise ValueError(f"id {token} is both {known.text!r} and {text!r}")
        found[token] = AddedToken(
            text, *(bool(flags.get(key)) for key in ("lstrip", "rstrip", "single_word"))
        )
    return found


def _check_ids(ids: Mapping[str, Any], added: Mapping[Any, AddedToken]) -> None:
    """Refuse ids that are none, and those that two entries have."""
    seen: dict[int, str] = {}
    rows: Iterable[tuple[str, Any]] = [*ids.items(), *((t.text, i) for i, t in added.items())]
    for entry, token in rows:
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < 2**31:
            raise ValueError(f"entry {entry!r} has the id {token!r}; ids are 0 or more")
        if seen.setdefault(token, entry) != entry:
            raise ValueError(f"id {token} is both {seen[token]!r} and {entry!r}")


def _special(names: Mapping[str, Any]) -> Iterable[str]:
    """The tokens that a configuration names: bos_token, pad_token, additional_special_tokens."""
    for key, value in names.items():
        if key.endswith("_token"):
            yield _name(value)
        elif key.endswith("_special_tokens"):
            yield from map(_name, value.values() if isinstance(value, dict) else value or ())


def _name(value: Any) -> str:
    """The text of a token as configurations write it: "</s>" or {"content": "</s>", ...}."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""


def _flag(settings: Mapping[str, Any], theirs: str, ours: str) -> dict[str, bool]:
    value = settings.get(theirs)
    return {ours: value} if isinstance(value, bool) else {}


def _length(value: Any) -> int | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if known and 1 <= value < _NO_LENGTH else None
