"""The API's half that looks inside: logit lens, ablation and attribution."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt2.engine import Engine, Scales, check_number
from gpt2.ui.api.as_json import token_json, tokens_json
from gpt2.ui.page import errors_in_words

MOST_TOP = 50


class LensEndpoints:
    """As Endpoints: a method for each that looks inside."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @errors_in_words()
    def lens(self, text: str, position: int = -1, top: int = 5) -> dict:
        """What GPT-2 would say after each of its layers (the logit lens), and attention rollout.

        Args:
            text: the text to read.
            position: the token after which it speaks, counted from 0; -1 = the last.
            top: likely tokens to name in each layer, 1 to 50.
        """
        name, ids, place = _text(self.engine, text, position)
        top = int(check_number("top", top, 1, MOST_TOP, whole=True))
        found = self.engine.inspector.logit_lens(ids, [place], model=name, top=top)
        layers = zip(
            found.top_ids[:, 0],
            found.top_probs[:, 0],
            found.followed_probs[:, 0],
            found.followed_ranks[:, 0],
            strict=True,
        )
        followed = place + 1 < len(ids)
        return {
            "model": name,
            "pieces": self.engine.catalog.pieces(ids, model=name),
            "position": place,
            "followed": token_json(self.engine, name, ids[place + 1]) if followed else None,
            "predicted": token_json(self.engine, name, int(found.predicted_ids[0])),
            "layers": [
                {
                    "layer": layer,
                    "top": tokens_json(self.engine, name, tops, probs),
                    "followed_prob": float(prob) if followed else None,
                    "followed_rank": int(rank) if followed else None,
                }
                for layer, (tops, probs, prob, rank) in enumerate(layers)
            ],
            "rollout": _rounded(self.engine.inspector.rollout(ids, model=name)[place, : place + 1]),
        }

    @errors_in_words()
    def ablate(
        self,
        text: str,
        position: int = -1,
        heads: list = (),
        mlps: list = (),
        layers: list = (),
    ) -> dict:
        """What GPT-2 would say next with heads, MLPs or layers turned off, down or up.

        Args:
            text: the text to read.
            position: the token after which it speaks, counted from 0; -1 = the last.
            heads: a list of [layer, head, scale]; scale 0 = off, 1 = as trained, up to 2.
            mlps: a list of [layer, scale].
            layers: a list of [layer, scale].
        """
        name, ids, place = _text(self.engine, text, position)
        scales = Scales.of(
            self.engine.catalog.config(name),
            heads={(row[0], row[1]): row[2] for row in _rows("heads", heads, 3)},
            mlps=dict(_rows("mlps", mlps, 2)),
            layers=dict(_rows("layers", layers, 2)),
        )
        found = self.engine.inspector.ablate(ids, place + 1, scales, model=name)
        best = [probs.argsort()[::-1][:10] for probs in (found.before, found.after)]
        followed = found.token >= 0
        return {
            "model": name,
            "pieces": self.engine.catalog.pieces(ids, model=name),
            "position": place,
            "followed": token_json(self.engine, name, found.token) if followed else None,
            **{
                when: {
                    "followed_prob": float(probs[found.token]) if followed else None,
                    "top": tokens_json(self.engine, name, tops, probs[tops]),
                }
                for when, probs, tops in zip(
                    ("before", "after"), (found.before, found.after), best, strict=True
                )
            },
        }

    @errors_in_words()
    def attribute(
        self,
        text: str,
        position: int = -1,
        method: str = "integrated gradients",
        answer: str = "",
        instead_of: str = "",
        topic: bool = False,
    ) -> dict:
        """How much each token of a text counts for what is said after it.

        Args:
            text: the text to read, or with topic a news text.
            position: the token after which it speaks, counted from 0; -1 = the last.
            method: "gradient x input", "integrated gradients" or "occlusion".
            answer: the next token to explain; empty = the one that follows, or the likeliest. With
                topic a label; empty = the likeliest.
            instead_of: explain why it is not this one; empty = off.
            topic: ask the classifier and not the language model.
        """
        ask = _ask_topic if topic is True else _ask_next_token
        asked = ask(self.engine, text, position, answer, instead_of)
        end = asked.place + 1
        *_, found = self.engine.inspector.attributions(
            asked.ids,
            end,
            asked.answer,
            method=method,
            model=asked.model,
            instead_of=asked.instead_of,
        )
        labels = self.engine.catalog.config(asked.model).labels

        def named(index: int | None) -> str | None:
            if index is None:
                return None
            return (
                labels[index]
                if labels
                else self.engine.catalog.pieces([index], model=asked.model)[0]
            )

        return {
            "model": asked.model,
            "pieces": self.engine.catalog.pieces(asked.ids[:end], model=asked.model),
            "position": asked.place,
            "truncated": asked.truncated,
            "method": found.method,
            "answer": named(asked.answer),
            "instead_of": named(asked.instead_of),
            "score": found.score,
            "scores": _rounded(found.scores),
            "error": None if np.isnan(found.error) else found.error,
        }


def whole_text(engine: Engine, text: str) -> tuple[str, list[int]]:
    """The default model's name and a text's tokens.

    Raises:
        ValueError: it is no text, or longer than the context.
    """
    name = engine.catalog.models[0]
    ids, n_ctx = engine.catalog.encode(text, model=name), engine.catalog.config(name).n_ctx
    if len(ids) > n_ctx:
        raise ValueError(f"the text has {len(ids)} tokens; the context holds {n_ctx}; shorten it")
    return name, ids


def _text(engine: Engine, text: str, position: object) -> tuple[str, list[int], int]:
    """Those two and the place that is asked for."""
    name, ids = whole_text(engine, text)
    return name, ids, _place(ids, position)


def _place(ids: Sequence[int], position: object) -> int:
    place = int(check_number("position", position, -1, len(ids) - 1, whole=True))
    return len(ids) - 1 if place < 0 else place


@dataclass(frozen=True)
class _Asked:
    """What is to be explained.

    Args:
        model: a language model or a classifier.
        ids: the tokens that it reads.
        place: the one after which it speaks.
        answer, instead_of: tokens, of a classifier classes.
        truncated: tokens of the text that it does not read.
    """

    model: str
    ids: list[int]
    place: int
    answer: int
    instead_of: int | None
    truncated: int = 0


def _ask_next_token(
    engine: Engine, text: str, position: object, answer: str, instead_of: str
) -> _Asked:
    name, ids, place = _text(engine, text, position)
    if answer:
        wanted = _token(engine, name, "answer", answer)
    elif place + 1 < len(ids):
        wanted = ids[place + 1]
    else:
        wanted = int(engine.inspector.logit_lens(ids, [place], model=name, top=1).predicted_ids[0])
    other = _token(engine, name, "instead_of", instead_of) if instead_of else None
    return _Asked(name, ids, place, wanted, other)


def _ask_topic(engine: Engine, text: str, position: object, answer: str, instead_of: str) -> _Asked:
    verdict = engine.inspector.classify(text)
    labels, ids = verdict.labels, list(verdict.ids)
    for name, label in (("answer", answer), ("instead_of", instead_of)):
        if label and label not in labels:
            raise ValueError(f"{name} is {label!r}; the topics are: {', '.join(labels)}")
    wanted = labels.index(answer or verdict.label)
    other = labels.index(instead_of) if instead_of else None
    place = _place(ids, position)
    return _Asked(verdict.model, ids, place, wanted, other, verdict.truncated)


def _token(engine: Engine, model: str, name: str, text: str) -> int:
    ids = engine.catalog.encode(text, model=model)
    if len(ids) != 1:
        raise ValueError(f"{name} is {len(ids)} tokens; name one, with the space before it if any")
    return ids[0]


def _rows(name: str, value: object, width: int) -> list[tuple]:
    """Lists of numbers of one length, from outside."""
    shape = "[layer, head, scale]" if width == 3 else "[layer, scale]"
    rows = list(value) if isinstance(value, list | tuple) else None
    if rows is None or not all(isinstance(row, list) and len(row) == width for row in rows):
        raise ValueError(f"{name} must be a list of {shape}")
    for row in rows:
        for number in row[:-1]:
            check_number(f"a layer or head of {name}", number, 0, 10_000, whole=True)
    return [tuple(row) for row in rows]


def _rounded(values: np.ndarray) -> list[float]:
    return np.round(values.astype(float), 6).tolist()
