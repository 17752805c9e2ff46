"""The text token by token, as HTML: each token a button tinted by one of its numbers.

All text is escaped here; nothing else on the page builds HTML from tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from gpt2.figures import Theme, class_color, color_legend, percent, token_colors

MOST_PROMPT_TOKENS = 64  # of a long prompt only its end is shown

# Picking a token tells the server which; arrow keys walk along the strip. The mark is set here and
# not by a new strip from the server, so that the keyboard's focus stays where it is.
PICK_JS = """
const pick = (button) => {
    element.querySelectorAll('[aria-pressed=true]').forEach(
        (other) => other.setAttribute('aria-pressed', 'false'));
    button.setAttribute('aria-pressed', 'true');
    trigger('pick', {index: Number(button.dataset.index)});
};
element.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-index]');
    if (button) pick(button);
});
element.addEventListener('keydown', (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    const button = event.target.closest('button[data-index]');
    if (!step || !button) return;
    const all = [...element.querySelectorAll('button[data-index]')];
    const next = all[all.indexOf(button) + step];
    if (next) { next.focus(); pick(next); }
    event.preventDefault();
});
"""


@dataclass(frozen=True)
class Numbers:
    """One number of each kind for each of some tokens, as arrays [T]."""

    probability: np.ndarray
    rank: np.ndarray
    entropy: np.ndarray


def token_strip(
    texts: Sequence[str],
    numbers: Numbers | None,
    *,
    prompt_length: int,
    by: str,
    theme: Theme,
    selected: int | None = None,
) -> str:
    """Prompt tokens in grey, drawn tokens tinted.

    Args:
        texts: of all tokens as Engine.drawn gives them, prompt first.
        numbers: of the drawn tokens, None while there are none.
        prompt_length: tokens of the prompt.
        by: which number tints: probability, rank or entropy.
        selected: the token that is marked.
    """
    first = max(0, prompt_length - MOST_PROMPT_TOKENS)
    parts = []
    if first:
        parts.append(f'<span class="earlier">… {first:,} earlier tokens</span> ')
    parts += [
        _button(texts[index], index, "prompt token", "", selected)
        for index in range(first, prompt_length)
    ]
    if numbers is not None:
        tints = token_colors(getattr(numbers, by), by, theme=theme)
        rows = zip(numbers.probability, numbers.rank, numbers.entropy, tints, strict=True)
        for index, (probability, rank, entropy, tint) in enumerate(rows, start=prompt_length):
            said = f"token {index} · {percent(probability)} · rank {int(rank):,} · "
            said += f"entropy {entropy:.1f} nats"
            parts.append(_button(texts[index], index, said, f"background:{tint}", selected))
    return f'<div class="strip" role="group" aria-label="Tokens">{"".join(parts)}</div>'


def _button(text: str, index: int, said: str, style: str, selected: int | None) -> str:
    if index == 0:  # nothing came before it, so nothing predicted it
        why = "the first token, predicted from nothing"
        return f'<span class="first" title="{why}">{_text(text)}</span>'
    pressed = "true" if index == selected else "false"
    return (
        f'<button type="button" data-index="{index}" aria-pressed="{pressed}" '
        f'title="{said}" style="{style}">{_text(text)}</button>{_break(text)}'
    )


def _text(drawn: str) -> str:
    """A token's text, escaped, with its line ends marked."""
    return escape(drawn).replace("\n", '<span class="mark">⏎</span>')


def _break(drawn: str) -> str:
    """The line break of a token that holds one; inside its button it would break nothing."""
    return "\n" if "\n" in drawn else ""


def legend(by: str, *, theme: Theme) -> str:
    """What the tints mean."""
    stops = "".join(
        f'<span class="stop" style="background:{color}">{escape(label)}</span>'
        for label, color in color_legend(by, theme=theme)
    )
    return f'<div class="legend"><span>{escape(by)}</span> {stops}</div>'


def class_strip(texts: Sequence[str], per_token: np.ndarray, labels: Sequence[str]) -> str:
    """A text underlined, token by token, in the colour of the class that leads after it.

    Args:
        texts: T of them, as Engine.drawn gives them.
        per_token: [T, C].
        labels: C of them.
    """
    parts = []
    for text, probs in zip(texts, per_token, strict=True):
        leader = int(probs.argmax())
        said = f"{labels[leader]} {percent(float(probs[leader]))} after this token"
        style = f"border-bottom-color:{class_color(leader)}"
        parts.append(
            f'<span class="read" title="{escape(said)}" style="{style}">{_text(text)}</span>'
        )
    keys = "".join(
        f'<span class="key" style="border-bottom-color:{class_color(i)}">{escape(label)}</span>'
        for i, label in enumerate(labels)
    )
    return (
        f'<div class="strip">{"".join(parts)}</div>'
        f'<div class="legend"><span>leading topic after each token</span> {keys}</div>'
    )
