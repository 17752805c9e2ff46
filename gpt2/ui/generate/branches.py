"""Go on with another token: the alternatives at a place, and the tree of texts that come of them.

A branch has the same settings and seed; chance falls as it did, so only the token that was changed
makes the difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import gradio as gr

from gpt2.engine import Engine, Request
from gpt2.figures import percent
from gpt2.records import Step, Trace
from gpt2.ui.generate.completion import Shown
from gpt2.ui.generate.writing import Writer
from gpt2.ui.page import MODEL_EVENTS, PRIVATE, VIEWPORT_JS, Page, errors_in_words, note
from gpt2.ui.picture import compare

MOST = 24  # branches kept; the oldest leaves go first
PREVIEW = 60  # characters shown of a branch
CHOOSE_JS = """
element.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-choice]');
    if (button) trigger('choose', {choice: Number(button.dataset.choice)});
});
"""


@dataclass(frozen=True)
class Branch:
    """A text of the tree.

    Args:
        shown: the text.
        parent: number of the text it was taken from, -1 for the first.
        place: where it departs from its parent.
    """

    shown: Shown
    parent: int
    place: int


@dataclass(frozen=True)
class Tree:
    """Texts that began as one; `current` is the one on the page."""

    branches: tuple[Branch, ...]
    current: int

    def check_room(self) -> None:
        """Refuse to grow past the limit.

        Raises:
            ValueError: there are too many branches.
        """
        if len(self.branches) >= MOST:
            raise ValueError(f"this text has {MOST} branches, the limit; generate a new text")

    def grown(self, shown: Shown, place: int) -> "Tree":
        """With another text, taken from the current one and now on the page itself."""
        branch = Branch(shown, self.current, place)
        return Tree((*self.branches, branch), len(self.branches))


class Branches:
    """The alternatives under the selected token's picture, and the tree below them."""

    def __init__(self, page: Page, shown: gr.State) -> None:
        """Build the components."""
        self.page, self.shown = page, shown
        self.tree = gr.State(None, time_to_live=3600)
        self.choices = gr.HTML(js_on_load=CHOOSE_JS, elem_id="alternatives")
        with gr.Row():
            self.typed = gr.Textbox(
                label="Or type a token to go on with", max_lines=1, scale=3, min_width=160
            )
            self.go = gr.Button("Go on with it", size="sm", scale=1, min_width=120)
        self.list = gr.HTML(js_on_load=CHOOSE_JS, elem_id="tree")

    def wire(self, writer: Writer) -> None:
        """Have choices written by `writer`, and earlier texts come back."""
        engine = self.page.engine

        def go_on(shown, tree, tokens, by, viewport, visitor):
            if shown is None:
                return
            place, request = shown.selected, shown.request
            kept = frozenset(index for index in shown.chosen if index < place)
            kept |= frozenset(range(place, place + len(tokens)))
            tree = tree or Tree((Branch(shown, -1, 0),), 0)

            def begin() -> tuple[Request, Iterator[Trace]]:
                tree.check_room()
                return request, engine.branch(request, shown.ids, place, tokens)

            for values in writer.write(begin, by, viewport, visitor, chosen=kept):
                done = values[-1]
                yield *values, tree.grown(done, place) if isinstance(done, Shown) else gr.skip()

        def choose(event: gr.EventData, shown, tree, by, viewport, visitor: gr.Request) -> Iterator:
            token = _choice(event)
            if token is not None:
                yield from go_on(shown, tree, [token], by, viewport, visitor)

        def type_one(text, shown, tree, by, viewport, visitor: gr.Request) -> Iterator:
            if shown is not None and text:
                with errors_in_words():
                    tokens = engine.catalog.encode(text, model=shown.model)
                yield from go_on(shown, tree, tokens, by, viewport, visitor)

        def walk(event: gr.EventData, tree, by, viewport):
            number = _choice(event)
            if tree is None or number is None or not number < len(tree.branches):
                return [gr.skip()] * 6
            tree = Tree(tree.branches, number)
            return *writer.again(tree.branches[number].shown, by, viewport), tree

        where = [self.shown, self.tree, writer.by, self.page.viewport]
        outputs = [*writer.outputs, self.tree]
        options = {"js": VIEWPORT_JS, "show_progress": "hidden", **MODEL_EVENTS, **PRIVATE}
        self.choices.choose(choose, where, outputs, **options)
        typed = [self.go.click, self.typed.submit]
        gr.on(typed, type_one, [self.typed, *where], outputs, **options)
        self.list.choose(walk, where[1:], outputs, **options)
        self.tree.change(
            lambda tree: tree_html(engine, tree),
            self.tree,
            self.list,
            show_progress="hidden",
            concurrency_limit=None,
            **PRIVATE,
        )


def _choice(event: gr.EventData) -> int | None:
    choice = event._data.get("choice") if isinstance(event._data, dict) else None
    return choice if isinstance(choice, int) and choice >= 0 else None


def alternatives_html(engine: Engine, shown: Shown, step: Step) -> str:
    """A button for each of the ten best tokens at the selected place but the one that is there."""
    if shown.selected < shown.prompt_length:
        return note("This token is of your prompt; change it there.")
    others = [
        (token, prob)
        for token, prob in zip(step.top_ids, step.top_probs, strict=True)
        if token != step.id
    ]
    pieces = engine.catalog.pieces([token for token, _ in others], model=shown.model)
    buttons = "".join(
        f'<button type="button" data-choice="{token}"><code>{escape(piece)}</code> '
        f"{percent(prob)}</button>"
        for (token, prob), piece in zip(others, pieces, strict=True)
    )
    return f'<div class="choices" role="group" aria-label="Go on with">Go on with {buttons}</div>'


def tree_html(engine: Engine, tree: Tree | None) -> str:
    """The texts as a nested list, and how the current one differs from the one it came from."""
    if tree is None or len(tree.branches) < 2:
        return ""
    here = tree.branches[tree.current]
    parts = [f'<ul class="tree" aria-label="Branches">{_item(engine, tree, 0)}</ul>']
    if here.parent >= 0:
        before = tree.branches[here.parent].shown
        names = (f"Text {here.parent + 1}", f"Text {tree.current + 1}")
        parts.append(compare(before.completion, here.shown.completion, names))
    return "".join(parts)


def _item(engine: Engine, tree: Tree, number: int) -> str:
    branch = tree.branches[number]
    below = "".join(
        _item(engine, tree, other)
        for other, child in enumerate(tree.branches)
        if child.parent == number
    )
    mark, undo = "", ""
    if number == tree.current:
        mark = ' aria-current="true"'
        if branch.parent >= 0:
            undo = f' <button type="button" data-choice="{branch.parent}">Undo</button>'
    return (
        f'<li><button type="button" data-choice="{number}"{mark}>{number + 1}</button> '
        f"{_said(engine, branch)}{undo}{f'<ul>{below}</ul>' if below else ''}</li>"
    )


def _said(engine: Engine, branch: Branch) -> str:
    """What sets a text apart: its changed token, and how it goes on."""
    shown = branch.shown
    if branch.parent < 0:
        return f"<q>{escape(shown.completion[:PREVIEW].strip())} …</q>"
    (piece,) = engine.catalog.pieces([shown.ids[branch.place]], model=shown.model)
    rest = engine.catalog.decode(shown.ids[branch.place + 1 :], model=shown.model)
    rest = escape(rest[:PREVIEW].strip())
    return f"token {branch.place} is <code>{escape(piece)}</code> <q>{rest} …</q>"
