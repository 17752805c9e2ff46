"""What a fine-tuning tells beside its weights: its circumstances, its curve and a table."""

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gpt2.training.progress import Point
from gpt2.weights import hash_file

ROOT = Path(__file__).resolve().parents[2]

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


def curves(points: Sequence[Point]) -> dict[str, list[dict[str, Any]]]:
    """A classifier's points as metrics.json has them: 500 or so, and those at ends of epochs.

    Texts count from the first that a classifier read.
    """
    before = max((point.read for point in points if point.accuracy is None), default=0)
    own = [
        {"stage": point.stage, "step": point.step, "texts": point.read - before}
        | {"loss": point.loss, "accuracy": point.accuracy}
        | ({} if point.held_out is None else {"held_out": point.held_out})
        for point in points
        if point.accuracy is not None
    ]
    ends = [point for point in own if "held_out" in point]
    return {"epochs": ends, "curve": own[:: max(1, len(own) // 500)]}


def table(metrics: dict[str, Any], *, name: str) -> str:
    """The run beside its baselines, measured here, and beside published figures.

    Args:
        metrics: those of the run, with baselines if they were measured.
        name: of the run's own row.
    """
    where = "test" if "test" in metrics else "held_out"
    own = {**metrics[where], "name": name, "train_rows": metrics["train_rows"]}
    measured = [own, *metrics.get("baselines", [])]
    width = max(len(text) for text in [*PUBLISHED, *(row["name"] for row in measured)])
    place = "test.csv" if where == "test" else "held-out rows of train.csv"
    lines = [f"{f'measured here, on {place}':<{width}}  trained on  rows   accuracy  macro F1"]
    lines += [
        f"{row['name']:<{width}}  {row['train_rows']:>10,}  {row['rows']:>5,}"
        f"  {100 * row['accuracy']:>6.2f} %  {row['macro_f1']:>8.4f}"
        for row in measured
    ]
    lines.append("published, on the official test set")
    lines += [
        f"{title:<{width}}  {120_000:>10,}  {7_600:>5,}  {accuracy:>6.2f} %"
        for title, accuracy in PUBLISHED.items()
    ]
    return "\n".join(lines)
