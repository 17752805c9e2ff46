"""What takes a view or its text along: a link, the text, the same request in other languages."""

from html import escape

LANGUAGES = {"python": "Python", "curl": "curl", "mcp": "MCP call"}


def copy_row(model: str) -> str:
    """The row of buttons under a text (static/copy.js).

    Args:
        model: the one that the API asks.
    """
    ways = "".join(
        f'<button type="button" data-copy="{way}">{name}</button>'
        for way, name in LANGUAGES.items()
    )
    return (
        f'<div class="copy" data-model="{escape(model)}" hidden>'
        '<button type="button" data-copy="link">Copy link</button>'
        '<button type="button" data-copy="text">Copy text</button>'
        f"<details><summary>Copy as</summary><div>{ways}</div></details>"
        '<p class="note copied" role="status"></p>'
        '<textarea readonly hidden rows="3" aria-label="To be copied"></textarea></div>'
    )
