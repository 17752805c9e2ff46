"""News texts to begin with, and how the topics' colours are called."""

from html import escape

EXAMPLES = {
    "Oil": "Oil prices climb as refineries shut down ahead of the storm, lifting shares of "
    "producers.",
    "Football": "The striker scored twice in the last ten minutes to send her team to the final.",
    "Peace talks": "Peace talks resume in Geneva after a week of fighting along the border.",
    "A planet": "A small telescope on a mountain in Chile has found a planet the size of Earth.",
    "A chip": "The phone maker said its new chip will double the battery life of next year's "
    "handsets.",
}


def examples_html() -> str:
    """Texts that one click reads, as chips."""
    chips = "".join(
        f'<button type="button" data-prompt="{escape(text)}">{escape(name)}</button>'
        for name, text in EXAMPLES.items()
    )
    return (
        f'<div class="chips" role="group" aria-label="Examples"><span>Examples</span> {chips}</div>'
    )


def class_name(index: int) -> str:
    """The style sheet's name for the colour of a class; a fifth class starts over."""
    return f"class-{index % 4}"
