"""The receipt of a conversion: what became of every tensor, and proof that the model is the same.

The proof runs the written files, as a reader of their format does, and, independently, the source's
own arrays (numpy_forward) over one fixed text, and compares the logits.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpt2 import weights
from gpt2.conversion import numpy_forward
from gpt2.conversion.logit_check import TEXT, source_logits
from gpt2.model import parameter_count
from gpt2.weights import Source

# float32 against float64, relative to the largest logit; a wrong tensor is off by 1e-2 and more.
_TOLERANCE = 1e-3
_CONFIG = ("vocab_size", "n_ctx", "n_embd", "n_layer", "n_head", "layer_norm_epsilon")


@dataclass(frozen=True)
class Row:
    """What became of one tensor.

    Args:
        name: in the source, empty if it has none and zeros were written.
        target: where it was written.
        shape, dtype: in the source.
        sha256: of its bytes in the source.
        written_sha256: of its bytes as written; the same if type and layout stayed.
        exact: every number is the same, perhaps in a wider type or transposed.
    """

    name: str
    target: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str
    written_sha256: str
    exact: bool

    def replaced(self, *, target: str) -> "Row":
        """The same with another target."""
        return replace(self, target=target)


@dataclass(frozen=True)
class Receipt:
    """All that receipt.json says.

    Args:
        source, kind: end of the source's path, and what it is.
        dtype: number type written.
        config: sizes of the model, and what else its arithmetic takes.
        variables: one row for each tensor written.
        skipped: [{name, reason}].
        notes: anything else that was decided.
        parameters: their number, the tied head counted once.
        exact: rows with every number the same as in the source.
        text: on which the logits were compared.
        max_logit_difference: the largest one, over all positions and tokens.
        max_logit: the largest logit in the source's own forward pass, for scale.
        exact_gelu_difference: for models trained with the exact GELU, how far the logits of that
            form are from those of the written model; otherwise None.
        weights_sha256: of the file of weights.
    """

    source: str
    kind: str
    dtype: str
    config: dict[str, Any]
    variables: tuple[Row, ...]
    skipped: tuple[dict[str, str], ...]
    notes: tuple[str, ...]
    parameters: int
    exact: int
    text: str
    max_logit_difference: float
    max_logit: float
    exact_gelu_difference: float | None
    weights_sha256: str


def build(
    source: Source,
    rows: Sequence[Row],
    *,
    dtype: torch.dtype,
    vocabulary_note: str,
    readings: Sequence[np.ndarray],
    ids: Sequence[int],
    weights_sha256: str,
) -> Receipt:
    """Compare, and write down.

    Args:
        readings: the written model's logits after ids, [T, V], as each of its readers has them.

    Raises:
        ValueError: the written model is not the source's.
    """
    theirs = source_logits(source, ids)
    scale = float(np.abs(theirs).max())
    # The source in the numbers that were written; then no difference is due to their type.
    rounded = theirs if dtype == torch.float32 else source_logits(source, ids, dtype=dtype)
    if not _apart(readings, rounded) <= _TOLERANCE * max(1.0, scale):
        raise ValueError(
            f"{source.path}: the logits of the written model differ from the source's by "
            f"{_apart(readings, rounded):.3g}; nothing was written"
        )
    exact = None
    if source.exact_gelu:
        exact = _apart(readings, source_logits(source, ids, gelu=numpy_forward.exact_gelu))
    sizes = asdict(source.config)
    return Receipt(
        source="/".join(source.path.parts[-2:]),
        kind=source.kind,
        dtype=str(dtype).removeprefix("torch."),
        config={key: sizes[key] for key in _CONFIG},
        variables=tuple(rows),
        skipped=tuple({"name": name, "reason": why} for name, why in source.skipped.items()),
        notes=(*source.notes, *([vocabulary_note] if vocabulary_note else [])),
        parameters=parameter_count(source.config),
        exact=sum(row.exact for row in rows),
        text=TEXT,
        max_logit_difference=_apart(readings, theirs),
        max_logit=scale,
        exact_gelu_difference=exact,
        weights_sha256=weights_sha256,
    )


def _apart(readings: Sequence[np.ndarray], wanted: np.ndarray) -> float:
    """The largest difference of any from what is wanted."""
    return float(max(np.abs(logits - wanted).max() for logits in readings))


# --- on disk and on paper ---------------------------------------------------------------------


def write(receipt: Receipt, directory: Path) -> None:
    """Save as receipt.json."""
    text = json.dumps(asdict(receipt), indent=1, ensure_ascii=False)
    (directory / weights.RECEIPT_FILE).write_text(text + "\n", encoding="utf-8")


def read(directory: str | Path) -> dict[str, Any] | None:
    """receipt.json of a directory, None without one.

    Raises:
        ValueError: it is no JSON object.
    """
    path = Path(directory) / weights.RECEIPT_FILE
    return weights.read_json(path) if path.is_file() else None


def short(directory: str | Path) -> str:
    """A model's receipt in one line, "148 of 148 tensors, max difference 4e-06"; empty without one.

    A receipt that can't be read counts as none: it is only for show.
    """
    try:
        found = read(directory)
        if found is None:
            return ""
        total = 12 * found["config"]["n_layer"] + 4
        written = sum(bool(row["name"]) for row in found["variables"])
        return f"{written} of {total} tensors, max difference {found['max_logit_difference']:.0e}"
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def lines(receipt: Receipt) -> list[str]:
    """The receipt as text, a line for each tensor and then a summary."""
    text = []
    for row in receipt.variables:
        where = f"{row.name or '(zeros)'} -> {row.target}"
        text.append(f"{where}  {list(row.shape)} {row.dtype} {row.sha256[:16]}")
    text += [f"skipped {item['name']}: {item['reason']}" for item in receipt.skipped]
    text += [f"note: {note}" for note in receipt.notes]
    named = sum(bool(row.name) for row in receipt.variables)
    sizes = ", ".join(f"{key} {value}" for key, value in receipt.config.items())
    text.append(f"{receipt.kind} {receipt.source}: {sizes}; {receipt.parameters:,} parameters")
    text.append(
        f"{named} of {len(receipt.variables)} tensors written as {receipt.dtype}, "
        f"{receipt.exact} exactly, {len(receipt.skipped)} skipped"
    )
    text.append(
        f"largest difference of logits from the source's own: {receipt.max_logit_difference:.2g} "
        f"(logits reach {receipt.max_logit:.1f})"
    )
    if receipt.exact_gelu_difference is not None:
        text.append(f"with the exact GELU it would be {receipt.exact_gelu_difference:.2g}")
    return text
