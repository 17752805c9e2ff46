"""Answers of the API as an assistant reads them: what was asked, and tokens only on request.

An assistant pays for each character. A completion of 60 tokens is 48,000 of them over HTTP, with
ten likely others for each token.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Short:
    """How a tool answers.

    Args:
        told: what the answer holds, as the assistant is told.
        brief: makes it of the API's.
        details: makes of it what is added on request; None if there is nothing to add.
    """

    told: str
    brief: Callable[[Answer], dict[str, Any]]
    details: Callable[[Answer], dict[str, Any]] | None = None


def _picked(*names: str) -> Callable[[Answer], dict[str, Any]]:
    return lambda answer: {name: _rounded(answer[name]) for name in names}


def _rounded(value: Any) -> Any:
    """Numbers with four digits, at any depth."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value


def _tokens(*names: str) -> Callable[[Answer], list[dict[str, Any]]]:
    """Of the tokens of an answer what these names say."""
    picked = _picked("piece", *names)
    return lambda answer: [picked(token) for token in answer["tokens"]]


def _written(answer: Answer) -> dict[str, Any]:
    tokens = _tokens("id", "prob", "rank")(answer)
    return {"prompt_ids": answer["prompt_ids"], "tokens": tokens}


def _strongest(answer: Answer) -> dict[str, Any]:
    """To which token each attends most."""
    pieces = answer["pieces"]
    best = [max(range(len(row)), key=row.__getitem__) for row in answer["weights"]]
    rows = zip(pieces, best, answer["weights"], strict=True)
    return {
        "model": answer["model"],
        "strongest": [
            {"from": piece, "to": pieces[place], "place": place, "weight": _rounded(row[place])}
            for piece, place, row in rows
        ],
    }


def _likeliest(tokens: list[Answer]) -> list[dict[str, Any]]:
    return [_picked("piece", "prob")(token) for token in tokens[:3]]


def _layers(answer: Answer) -> dict[str, Any]:
    layers = [
        {"layer": layer["layer"], "top": _likeliest(layer["top"])} for layer in answer["layers"]
    ]
    return {**_picked("model", "position", "predicted", "followed")(answer), "layers": layers}


def _before_and_after(answer: Answer) -> dict[str, Any]:
    return _picked("model", "position")(answer) | {
        when: _likeliest(answer[when]["top"]) for when in ("before", "after")
    }


def _counts(answer: Answer) -> dict[str, Any]:
    head = _picked("model", "method", "answer", "instead_of", "truncated")(answer)
    rows = zip(answer["pieces"], answer["scores"], strict=True)
    return head | {"scores": [[piece, _rounded(score)] for piece, score in rows]}


_COMPLETION = _picked("model", "completion", "finish_reason", "seed", "truncated")
SHORT = {
    "generate": Short(
        "Answers the completion and why it ended (finish_reason); with details also each token "
        "with its id, probability and rank.",
        _COMPLETION,
        _written,
    ),
    "branch": Short(
        "Answers as generate, whose details give the ids that it asks for.", _COMPLETION, _written
    ),
    "score": Short(
        "Answers the perplexity and the mean negative log-probability (nll, in nats); with details "
        "also each token's log-probability and rank.",
        lambda answer: _picked("model", "perplexity", "nll", "truncated")(answer)
        | {"count": len(answer["tokens"])},
        lambda answer: {"tokens": _tokens("logprob", "rank")(answer)},
    ),
    "attention": Short(
        "Answers for each token to which one it attends most; with details the whole matrix.",
        _strongest,
        _picked("pieces", "weights"),
    ),
    "classify": Short(
        "Answers the topic and the probability of each; with details also what they were after "
        "each token.",
        _picked("model", "label", "probs", "truncated"),
        _picked("pieces", "per_token"),
    ),
    "models": Short(
        "Answers names, sizes and fingerprints.", _picked("models", "classifiers", "device")
    ),
    "lens": Short(
        "Answers the three likeliest tokens of each layer; with details what the API gives.",
        _layers,
        _picked("layers", "rollout"),
    ),
    "ablate": Short(
        "Answers the three likeliest next tokens before and after; with details ten of each.",
        _before_and_after,
        _picked("before", "after"),
    ),
    "attribute": Short("Answers the score of each token.", _counts),
}  # fmt: skip
