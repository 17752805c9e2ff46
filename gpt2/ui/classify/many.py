"""Many texts: the topic of each line of a list."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from html import escape

from gpt2.engine import Engine
from gpt2.figures import counted, percent
from gpt2.records import Verdict
from gpt2.ui.classify.examples import EXAMPLES, class_name
from gpt2.ui.controls import paste
from gpt2.ui.page import Page, note, on_a_clock
from gpt2.ui.record import Asked
from gpt2.ui.view import View, slot

WORDS = (
    "The topic of each line, read by itself. Look for a bar of several colours: there the model is "
    "torn. A click on a text reads it at the left."
)
MOST_TEXTS = 50  # in one list
CLOCK = 0.3  # seconds from one drawing to the next


def build_many(page: Page) -> View:
    """The view."""
    form = paste(
        "many",
        "Texts, one a line",
        "Classify all",
        limit=page.engine.limits.prompt_chars,
        placeholder="Empty reads the examples.",
    )
    return View(
        page,
        "classify",
        "many",
        WORDS,
        body=form + slot("many-words") + slot("many-texts"),
        uses=("many",),
        draw=partial(many_drawings, page.engine),
    )


def many_drawings(engine: Engine, asked: Asked) -> Iterator[dict[str, str]]:
    """The verdicts as they come."""
    texts = listed_texts(engine, asked.look.get("many"))
    verdicts: list[Verdict] = []
    each = (engine.inspector.classify(text, classifier=asked.model, bulk=True) for text in texts)
    for batch in on_a_clock(each, CLOCK):
        verdicts += batch
        yield {
            "many-words": note(many_words(verdicts, len(texts))),
            "many-texts": many_html(texts, verdicts),
        }


def listed_texts(engine: Engine, pasted: object) -> list[str]:
    """The lines that hold something, of a pasted list or of the examples.

    Raises:
        ValueError: there are too many, or all of it is too long.
    """
    if not isinstance(pasted, str) or not pasted.strip():
        return list(EXAMPLES.values())
    engine.catalog.check_text(pasted, what="list")
    texts = [line.strip() for line in pasted.splitlines() if line.strip()]
    if len(texts) > MOST_TEXTS:
        raise ValueError(
            f"there are {len(texts):,} texts; the limit is {MOST_TEXTS}; leave some out"
        )
    return texts


def many_words(verdicts: Sequence[Verdict], count: int) -> str:
    """How many texts there are, and of each topic."""
    topics = Counter(found.label for found in verdicts)
    read = counted(count, "text")
    if len(verdicts) < count:
        read = f"{len(verdicts)} of {read} read"
    shares = [f"{label} {topics[label]}" for label in verdicts[0].labels]
    return " · ".join([read, *shares, verdicts[0].model])


def many_html(texts: Sequence[str], verdicts: Sequence[Verdict]) -> str:
    """A row for each text that was read: its topic, a bar of all topics, and the text."""
    rows = "".join(_row(text, found) for text, found in zip(texts, verdicts, strict=False))
    return (
        '<div class="many" role="region" aria-label="Topics of the texts" tabindex="0"><table>'
        "<tr><th>topic</th><th>all four</th><th>text</th></tr>"
        f"{rows}</table></div>"
    )


def _row(text: str, found: Verdict) -> str:
    leader = found.labels.index(found.label)
    said = ", ".join(
        f"{label} {percent(float(prob))}"
        for label, prob in zip(found.labels, found.probs, strict=True)
    )
    parts = "".join(
        f'<i class="{class_name(index)}" style="flex-grow:{float(prob):.4f}"></i>'
        for index, prob in enumerate(found.probs)
    )
    return (
        f'<tr><td><span class="key {class_name(leader)}">{escape(found.label)} '
        f"{percent(float(found.probs[leader]))}</span></td>"
        f'<td><span class="shares" role="img" aria-label="{escape(said)}" title="{escape(said)}">'
        f"{parts}</span></td>"
        f'<td><button type="button" data-prompt="{escape(text)}" translate="no">{escape(text)}'
        "</button></td></tr>"
    )
