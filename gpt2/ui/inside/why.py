"""Why this token, or this topic? What each token before it counted for, and whether that is true.

Shared by both tabs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from gpt2.engine import Engine
from gpt2.figures import AttributionBars, FaithfulnessCurves
from gpt2.records import METHODS, Attribution, Faithfulness
from gpt2.ui.page import Page, Viewport, note, paced
from gpt2.ui.picture import Drawing
from gpt2.ui.section import Section

WORDS = (
    "Which of the tokens before it made the model say this? A bar to the right spoke for it, a bar "
    "to the left against it. Methods disagree; open the part below to see which to believe here."
)
TRUE = (
    "A picture of reasons is true if taking away what it calls important changes the answer. "
    "Deletion takes tokens away, the most important first: a good method falls fast. Insertion "
    "puts them back into an empty text: a good method rises fast. Random order is the floor."
)
ALL = "all three"


@dataclass(frozen=True)
class Question:
    """What is asked: why `answer` after ids[:index]?

    Args:
        name: the answer in words, for the pictures.
    """

    model: str
    ids: tuple[int, ...]
    index: int
    answer: int
    name: str


Ask = Callable[[Any], Question]  # from what the page keeps to the question about it


def build_why(
    page: Page, shown: gr.State, ask: Ask, *, title: str, name: str, contrast: bool
) -> None:
    """The two sections.

    Args:
        shown: holds a record that `ask` understands, or None.
        title: of the first one.
        name: begins the element ids.
        contrast: whether the visitor may name another token to compare with.
    """
    engine = page.engine
    with Section(page, shown, title, WORDS, name=f"{name}-why") as section:
        with gr.Row():
            method = gr.Radio([*METHODS, ALL], value=METHODS[0], label="Method")
            other = gr.Textbox(
                label="Rather than",
                info="Another token, to see what spoke for this one instead. Empty is off.",
                max_lines=1,
                visible=contrast,
            )
        words = gr.HTML(elem_id=f"{name}-why-words")
        bars = section.picture(f"{name}-why-bars")
    with Section(page, shown, "Is this picture true?", TRUE, name=f"{name}-true") as check:
        curves = check.picture(f"{name}-true-curves")
        table = gr.HTML(elem_id=f"{name}-true-table")

    def draw(shown, method, other, screen):
        methods = METHODS if method == ALL else (method,)
        return attribution_drawings(engine, ask(shown), methods, other or "", screen)

    section.wire(draw, [method, other], [words, bars])
    check.wire(
        lambda shown, screen: truth_drawings(engine, ask(shown), screen), [], [curves, table]
    )


def attribution_drawings(
    engine: Engine, asked: Question, methods: Sequence[str], other: str, screen: Viewport
) -> Iterator[tuple[str, Drawing]]:
    """The shares by each method, as they come, and what they add up to in words."""
    rival = engine.catalog.encode(other, model=asked.model)[0] if other else None
    for found in paced(_attributions(engine, asked, methods, rival)):
        yield _attribution_drawing(engine, asked, found, rival, screen)


def _attributions(
    engine: Engine, asked: Question, methods: Sequence[str], rival: int | None
) -> Iterator[list[Attribution]]:
    whole: list[Attribution] = []
    for method in methods:
        found = whole
        for one in engine.inspector.attributions(
            asked.ids, asked.index, asked.answer, method=method, model=asked.model, instead_of=rival
        ):
            found = [*whole, one]
            yield found
        whole = found


def _attribution_drawing(
    engine: Engine,
    asked: Question,
    found: Sequence[Attribution],
    rival: int | None,
    screen: Viewport,
) -> tuple[str, Drawing]:
    target, words = asked.name, []
    if rival is not None:
        against = engine.catalog.pieces([rival], model=asked.model)[0]
        target = f"{asked.name} rather than {against}"
        words.append(f"Lead over {against}: {found[0].score:.2f} logits.")
    words += [
        f"By {one.method} the bars add up to {one.scores.sum():.2f} of the logits between "
        f"an empty text and this one, {one.score - one.empty:.2f} ({one.error:.2%} off)."
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
    return note(" ".join(words)), Drawing(picture, screen, f"why-{asked.index}")


def truth_drawings(
    engine: Engine, asked: Question, screen: Viewport
) -> Iterator[tuple[Drawing, str]]:
    """The check of the two quickest methods at once, that of all as soon as it is there."""
    for quick in (True, False):
        found = engine.inspector.faithfulness(
            asked.ids, asked.index, asked.answer, model=asked.model, quick=quick
        )
        drawing, table = _truth(found, asked, screen)
        yield drawing, table + (note("The other methods follow …") if quick else "")


def _truth(found: Faithfulness, asked: Question, screen: Viewport) -> tuple[Drawing, str]:
    """Deletion and insertion curves of every method, and a table of one number for each."""
    curves = (found.fractions, found.deletion, found.insertion, found.names)
    picture = FaithfulnessCurves(*curves, unit=f"probability of {asked.name}")
    order = np.argsort(-found.areas, kind="stable")
    rows = "".join(
        f"<tr><td>{escape(found.names[row])}</td><td>{found.areas[row]:+.3f}</td></tr>"
        for row in order
    )
    return (
        Drawing(picture, screen, "is-it-true"),
        note("Area between insertion and deletion on this text; more is better.")
        + f'<table class="scores"><tr><th>method</th><th>score</th></tr>{rows}</table>',
    )
