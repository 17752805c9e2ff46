"""Why this token, or this topic? What each token before it counted for, and whether that is true.

Shared by both tabs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

import numpy as np

from gpt2.engine import Engine
from gpt2.figures import AttributionBars, FaithfulnessCurves
from gpt2.records import METHODS, Attribution, Faithfulness
from gpt2.ui.classify.reading import verdict_of
from gpt2.ui.controls import choice, row, text
from gpt2.ui.page import Page, note, paced
from gpt2.ui.picture import Drawing
from gpt2.ui.record import Asked, Tab
from gpt2.ui.view import View, slot

WORDS = {
    "generate": "Which earlier tokens the selected one rests on. Methods disagree: see “is it "
    "true?” before you believe one.",
    "classify": "Which tokens the topic rests on that leads after the selected one. Methods "
    "disagree: see “is it true?” before you believe one.",
}
ALL = "all three"
REASONS, TRUE = "reasons", "true"
CHECKS = {REASONS: "reasons", TRUE: "is it true?"}
MEANING = (
    "Take away first what a method calls most important: if it is right, the probability falls at "
    "once; put the same back first, and it rises at once."
)


@dataclass(frozen=True)
class Question:
    """What is asked: why `answer` after ids[:index]?

    Args:
        name: the answer in words, for the pictures.
        rival: another answer to compare with, if any.
    """

    model: str
    ids: tuple[int, ...]
    index: int
    answer: int
    name: str
    rival: int | None = None


def build_why(page: Page, tab: Tab) -> View:
    """The view; in Generate the visitor may name another token to compare with."""
    rival = text("rival", "Rather than", placeholder="another token") if tab == "generate" else ""
    method = choice(tab, "method", "Method", [*METHODS, ALL])
    return View(
        page,
        tab,
        "why",
        WORDS[tab],
        body=row(
            choice(tab, "check", "Show", CHECKS), f'<span class="reasons">{method}{rival}</span>'
        )
        + slot(f"{tab}-why-words")
        + slot(f"{tab}-why-picture")
        + slot(f"{tab}-why-table"),
        uses=("token", "method", "rival", "check"),
        draw=partial(why_drawings, page.engine, tab),
    )


def why_drawings(engine: Engine, tab: Tab, asked: Asked) -> Iterator[dict[str, Drawing | str]]:
    """The reasons as they come, or the test of them; each better than the one before."""
    question = question_of(engine, tab, asked)
    if asked.choice("check", tuple(CHECKS)) == TRUE:
        drawn = truth_drawings(engine, question, asked.width)
    else:
        method = asked.choice("method", (*METHODS, ALL))
        methods = METHODS if method == ALL else (method,)
        drawn = reason_drawings(engine, question, methods, asked.width)
    for slots in drawn:
        yield {f"{tab}-why-{name}": value for name, value in slots.items()}


def question_of(engine: Engine, tab: Tab, asked: Asked) -> Question:
    """Why the selected token, or the topic that leads after it?

    Raises:
        ValueError: nothing stands before the selected token.
    """
    if tab == "classify":
        found, index = verdict_of(engine, asked), asked.selected + 1
        leader = int(found.per_token[asked.selected].argmax())
        return Question(asked.model, asked.ids, index, leader, found.labels[leader])
    if asked.selected < 1:
        raise ValueError("nothing stands before the first token; select a later one")
    answer, words = asked.ids[asked.selected], asked.words("rival")
    (name,) = engine.catalog.pieces([answer], model=asked.model)
    rival = engine.catalog.encode(words, model=asked.model)[0] if words else None
    return Question(asked.model, asked.ids, asked.selected, answer, name, rival)


def reason_drawings(
    engine: Engine, asked: Question, methods: Sequence[str], width: int
) -> Iterator[dict[str, Drawing | str]]:
    """The shares by each method, as they come, and what they add up to in words."""
    for found in paced(_attributions(engine, asked, methods)):
        yield _reason_drawing(engine, asked, found, width)


def _attributions(
    engine: Engine, asked: Question, methods: Sequence[str]
) -> Iterator[list[Attribution]]:
    whole: list[Attribution] = []
    for method in methods:
        found = whole
        for one in engine.inspector.attributions(
            asked.ids,
            asked.index,
            asked.answer,
            method=method,
            model=asked.model,
            instead_of=asked.rival,
        ):
            found = [*whole, one]
            yield found
        whole = found


def _reason_drawing(
    engine: Engine, asked: Question, found: Sequence[Attribution], width: int
) -> dict[str, Drawing | str]:
    target, words = asked.name, []
    if asked.rival is not None:
        (against,) = engine.catalog.pieces([asked.rival], model=asked.model)
        target = f"{asked.name} rather than {against}"
        words.append(f"Lead over {against}: {found[0].score:.2f} logits.")
    words += [
        f"{one.method.capitalize()} add up to {one.scores.sum():.2f} of the "
        f"{one.score - one.empty:.2f} logits that this text adds to an empty one "
        f"({100 * one.error:.2g} % off)."
        for one in found
        if not np.isnan(one.error)
    ]
    if np.isnan(found[-1].scores).any():
        words.append("The tokens further back follow …")
    before = asked.ids[: asked.index]
    picture = AttributionBars(
        engine.catalog.drawn(before, model=asked.model),
        np.stack([one.scores for one in found]),
        [one.method for one in found],
        target,
        engine.catalog.words(before, model=asked.model),
    )
    return {
        "words": note(" ".join(words)) if words else "",
        "picture": Drawing(picture, width, f"why-{asked.index}"),
    }


def truth_drawings(
    engine: Engine, asked: Question, width: int
) -> Iterator[dict[str, Drawing | str]]:
    """The test of the two quickest methods at once, that of all as soon as it is there."""
    for quick in (True, False):
        found = engine.inspector.faithfulness(
            asked.ids, asked.index, asked.answer, model=asked.model, quick=quick
        )
        curves = (found.fractions, found.deletion, found.insertion, found.names)
        picture = FaithfulnessCurves(*curves, unit=f"probability of {asked.name}")
        yield {
            "words": note(MEANING + (" The other methods follow …" if quick else "")),
            "picture": Drawing(picture, width, f"is-it-true-{asked.index}"),
            "table": truth_table(found),
        }


def truth_table(found: Faithfulness) -> str:
    """One number for each method, the best first."""
    order = np.argsort(-found.areas, kind="stable")
    pairs = "".join(
        f"<div><dt>{escape(found.names[row])}</dt><dd>{found.areas[row]:+.2f}</dd></div>"
        for row in order
    )
    return (
        note("Area between a method's two curves, from -1 to 1; the higher, the truer:")
        + f'<dl class="areas">{pairs}</dl>'
    )
