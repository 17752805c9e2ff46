"""tokenizer.json, in which Hugging Face describes any tokenizer: read if it is of GPT-2's kind."""

from collections.abc import Mapping
from typing import Any

_NORMAL_FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def parse_whole(
    raw: Mapping[str, Any],
) -> tuple[dict[str, Any], list[tuple[str, str]], dict[str, Any]]:
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


def _pair(merge: Any, number: int) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) for p in parts):
        raise ValueError(f"merge {number} is {merge!r}; it must be two entries")
    return parts[0], parts[1]
