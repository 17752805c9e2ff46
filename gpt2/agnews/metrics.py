"""How good class probabilities are."""

from collections.abc import Sequence
from typing import Any

import numpy as np

BINS = 15  # of the calibration error, as in the paper


def metrics_of(probs: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """What is reported of a classifier on labelled rows.

    Args:
        probs: [N, C] probabilities.
        labels: [N] true classes, 0 to C - 1.
        names: C class names.

    Returns:
        Those of metrics_of_guesses, and nll, the mean negative log-likelihood in nats, and
        calibration_error, 0 to 1.
    """
    chosen = probs[np.arange(len(labels)), labels]
    return {
        **metrics_of_guesses(probs.argmax(axis=1), labels, names),
        "nll": float(-np.log(chosen.clip(1e-12)).mean()),
        "calibration_error": calibration_error(probs, labels),
    }


def metrics_of_guesses(
    guess: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """What can be said of the named classes alone: guess and labels are [N], 0 to C - 1.

    Returns:
        accuracy, 0 to 1; rows; macro_f1, 0 to 1, the mean over the classes that occur in labels
        or in guess, as scikit-learn's f1_score averages; macro_f1_classes, how many these are;
        per_class: precision, recall and f1 by name, 0 where there is nothing to divide by;
        confusion: [C][C] counts, a row for each true class and a column for each named one.
    """
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confusion, (labels, guess), 1)
    per_class = {}
    for i, name in enumerate(names):
        hits, named, there = confusion[i, i], confusion[:, i].sum(), confusion[i].sum()
        per_class[name] = {
            "precision": _share(hits, named),
            "recall": _share(hits, there),
            "f1": _share(2 * hits, named + there),
            "rows": int(there),
        }
    occurring = [i for i in range(len(names)) if confusion[i].any() or confusion[:, i].any()]
    f1 = [per_class[names[i]]["f1"] for i in occurring]
    return {
        "accuracy": float((guess == labels).mean()),
        "macro_f1": float(np.mean(f1)),
        "macro_f1_classes": len(occurring),
        "rows": len(labels),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def calibration_error(probs: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error, 0 to 1: how far confidence is from accuracy, bin by bin.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    confidence = probs.max(axis=1)
    right = probs.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)  # (0, 1/15] is bin 0
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
