"""What a fine-tuning leaves beside its weights: metrics.json, two pictures and a table.

Imports: numpy, torch (its version), and gpt2.figures for the pictures.
"""

import json
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from gpt2 import figures
from gpt2.agnews import AGNEWS_LABELS
from gpt2.weights import hash_file

ROOT = Path(__file__).resolve().parent.parent
CURVE, CONFUSION = "training.png", "confusion.png"

# Accuracy in percent on the 7,600 rows of the official test set after training on all 120,000 rows,
# as published.
PUBLISHED = {
    "n-gram TF-IDF + logistic regression (Zhang et al. 2015)": 92.36,
    "fastText (Joulin et al. 2017)": 92.5,
    "BERT-base (as in Sun et al. 2019)": 94.75,
    "ULMFiT (Howard & Ruder 2018)": 94.99,
    "XLNet (Yang et al. 2019)": 95.51,
}


def files_of(directory: Path) -> dict[str, str]:
    """sha256 of the CSVs of a data directory, by name."""
    paths = (directory / name for name in ("train.csv", "test.csv"))
    return {path.name: hash_file(path) for path in paths if path.is_file()}


def versions() -> dict[str, str]:
    """Versions of Python and of what a run computes with."""
    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "tiktoken", "safetensors", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """This code's git commit, with "+" if files differ from it; None without a repository."""
    if not (ROOT / ".git").exists():
        return None
    try:
        head, changed = (
            subprocess.run(
                ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def write(directory: Path, metrics: dict[str, Any], points: Sequence[dict]) -> None:
    """Write metrics.json and the two pictures, whose alt texts stand in it.

    Args:
        directory: exists.
        metrics: with `held_out`, and `test` if there were test rows, as gpt2.scoring makes them.
        points: of the classifier's curve, as gpt2.finetune yields them; thinned to 500 or so.
    """
    classifier = _running([point for point in points if "accuracy" in point])
    thin = classifier[:: max(1, len(classifier) // 500)]
    measured = [point for point in classifier if "held_out" in point]
    numbers = (
        [point["texts"] for point in thin],
        [point["loss"] for point in thin],
        [point["accuracy"] for point in thin],
        [point["texts"] for point in measured],
        [point["held_out"]["accuracy"] for point in measured],
    )
    curves = figures.TrainingCurves(*map(np.array, numbers))
    counts = metrics.get("test", metrics["held_out"])["confusion"]
    confusion = figures.ConfusionTable(np.array(counts), AGNEWS_LABELS)
    pictures: dict[str, figures.Picture] = {CURVE: curves, CONFUSION: confusion}
    for name, picture in pictures.items():
        data = figures.to_png(picture.figure(), background=figures.LIGHT.background)
        (directory / name).write_bytes(data)
    alts = {name: picture.alt() for name, picture in pictures.items()}
    full = {**metrics, "figures": alts, "epochs": measured, "curve": thin}
    (directory / "metrics.json").write_text(json.dumps(full, indent=1) + "\n", encoding="utf-8")


def _running(points: Sequence[dict]) -> list[dict]:
    """The points with the texts of all their stages so far, and not of their own stage."""
    made: list[dict] = []
    before = 0
    for point in points:
        if made and made[-1]["stage"] != point["stage"]:
            before = made[-1]["texts"]
        made.append({**point, "texts": before + point["texts"]})
    return made


def table(metrics: dict[str, Any], *, name: str) -> str:
    """The run beside its baselines, measured here, and beside published figures.

    Args:
        metrics: as for `write`, with train_rows, and baselines if they were measured.
        name: of the run's own row.
    """
    where = "test" if "test" in metrics else "held_out"
    own = {**metrics[where], "name": name, "train_rows": metrics["train_rows"]}
    measured = [own, *metrics.get("baselines", [])]
    width = max(len(text) for text in [*PUBLISHED, *(row["name"] for row in measured)])
    place = "test.csv" if where == "test" else "held-out rows of train.csv"
    lines = [f"{f'measured here, on {place}':<{width}}  trained on  rows   accuracy  macro F1"]
    for row in measured:
        lines.append(
            f"{row['name']:<{width}}  {row['train_rows']:>10,}  {row['rows']:>5,}"
            f"  {100 * row['accuracy']:>6.2f} %  {row['macro_f1']:>8.4f}"
        )
    lines.append("published, on the official test set")
    for title, accuracy in PUBLISHED.items():
        lines.append(f"{title:<{width}}  {120_000:>10,}  {7_600:>5,}  {accuracy:>6.2f} %")
    return "\n".join(lines)
