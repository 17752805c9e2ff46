"""Tokens that were added to a vocabulary, as configurations write them, and the ids of all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


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


def parse_added(
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
        text = text_of(row)
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


def check_ids(ids: Mapping[str, Any], added: Mapping[Any, AddedToken]) -> None:
    """Refuse ids that are none, and those that two entries have."""
    seen: dict[int, str] = {}
    rows: Iterable[tuple[str, Any]] = [*ids.items(), *((t.text, i) for i, t in added.items())]
    for entry, token in rows:
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < 2**31:
            raise ValueError(f"entry {entry!r} has the id {token!r}; ids are 0 or more")
        if seen.setdefault(token, entry) != entry:
            raise ValueError(f"id {token} is both {seen[token]!r} and {entry!r}")


def special_tokens(names: Mapping[str, Any]) -> Iterable[str]:
    """The tokens that a configuration names: bos_token, pad_token, additional_special_tokens."""
    for key, value in names.items():
        if key.endswith("_token"):
            yield text_of(value)
        elif key.endswith("_special_tokens"):
            yield from map(text_of, value.values() if isinstance(value, dict) else value or ())


def text_of(value: Any) -> str:
    """The text of a token as configurations write it: "</s>" or {"content": "</s>", ...}."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""
