"""Controls on the edge of a view, as HTML: each has a label that is seen and holds a part of the
look by its name (gpt2.controls in static/stage.js)."""

from collections.abc import Mapping, Sequence
from html import escape


def choice(tab: str, name: str, label: str, options: Sequence[str] | Mapping[str, str]) -> str:
    """One of a few, as buttons in a row; the first is chosen.

    Args:
        tab: "generate" or "classify"; buttons of two tabs are no group.
        name: in the look.
        options: values, or words by value.
    """
    words = options if isinstance(options, Mapping) else dict(zip(options, options, strict=True))
    radios = "".join(
        f'<label><input type="radio" name="{tab}-{name}" data-look="{name}" '
        f'value="{escape(value)}"{"" if n else " checked"}><span>{escape(said)}</span></label>'
        for n, (value, said) in enumerate(words.items())
    )
    return f'<fieldset class="choice"><legend>{escape(label)}</legend>{radios}</fieldset>'


def stepper(
    name: str,
    label: str,
    low: float,
    high: float,
    value: float,
    *,
    step: float = 1,
    window: int = 0,
) -> str:
    """A number with a button on each side.

    Args:
        name: in the look. Of "layer" and "head" the page sets the end by the model.
        high: the last value there is.
        window: how many tokens from this one on are shown; then the page sets the end by the text,
            and where the text is no longer than that the stepper is not shown.
    """
    said = escape(label)
    more = f' data-window="{window}"' if window else ""
    return (
        f'<span class="stepper" role="group" aria-label="{said}"><label><span>{said}</span>'
        f'<input type="number" inputmode="decimal" data-look="{name}" min="{low:g}" '
        f'max="{high:g}" step="{step:g}" value="{value:g}"{more}></label>'
        f'<button type="button" data-step="{name} {-step:g}" aria-label="{said} down">−</button>'
        f'<button type="button" data-step="{name} {step:g}" aria-label="{said} up">+</button>'
        "</span>"
    )


def text(name: str, label: str, *, most: int = 200, placeholder: str = "") -> str:
    """A line of text."""
    return (
        f'<label class="text-control"><span>{escape(label)}</span><input type="text" '
        f'data-look="{name}" maxlength="{most}" placeholder="{escape(placeholder)}" '
        'autocomplete="off"></label>'
    )


def paste(name: str, label: str, button: str, *, limit: int, placeholder: str = "") -> str:
    """A text of any length up to a limit, which a button hands over.

    Args:
        name: in the look, as one of OWN_TEXTS in static/stage.js.
        limit: of its characters; the page says it of a longer one, which it does not send.
    """
    return (
        f'<form class="paste" data-limit="{limit}"><label>{escape(label)}<textarea name="{name}" '
        f'rows="2" autocomplete="off" spellcheck="false" placeholder="{escape(placeholder)}">'
        f'</textarea></label><button type="submit">{escape(button)}</button></form>'
    )


def row(*controls: str) -> str:
    """Controls in a line, as many as there is room for."""
    return f'<div class="controls">{"".join(controls)}</div>'
