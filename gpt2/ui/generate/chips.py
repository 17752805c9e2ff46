"""What can be tried with one click: a row of presets under the prompt."""

from collections.abc import Sequence
from html import escape
from typing import Any

from gpt2.engine import Engine
from gpt2.records import Trace, Verdict
from gpt2.ui.preset_places import place
from gpt2.ui.presets import Preset


def chips_html(presets: Sequence[Preset]) -> str:
    """A button for each; the sentence on the one that stands is said over its view."""
    buttons = "".join(
        f'<button type="button" data-preset="{escape(preset.name)}" data-tab="{preset.tab}" '
        f'data-view="{preset.view}" title="{escape(preset.words)}">{escape(preset.name)}</button>'
        for preset in presets
    )
    return f'<div class="chips" role="group" aria-label="Try"><span>Try</span>{buttons}</div>'


def preset_named(presets: Sequence[Preset], tab: str, name: object) -> Preset:
    """The preset that the page asks for.

    Raises:
        ValueError: there is none of that name.
    """
    for preset in presets:
        if (preset.tab, preset.name) == (tab, name):
            return preset
    names = ", ".join(preset.name for preset in presets if preset.tab == tab)
    raise ValueError(f"there is no such preset; there are: {names}; load the page again")


def end_of(preset: Preset, engine: Engine, record: Trace | Verdict) -> dict[str, Any]:
    """Where to look in a preset's text, and what is said of it, for the line that ends the text."""
    found = place(preset, engine, record)
    told = preset.view in ("attention", "switch")  # of the others no head is spoken of
    heads = {"layer": found.layer, "head": found.head} if told else {}
    return {
        "selected": found.token,
        "look": {"view": preset.view, **heads, **preset.options},
        "preset": [preset.name, preset.view, preset.sentence(found)],
    }
