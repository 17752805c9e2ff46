"""What the page is made of beside components: its scripts and its style sheet, as texts."""

from functools import cache
from pathlib import Path

from gpt2.figures import DARK, LIGHT, Theme, class_color, level_colors, theme_css

CLASSES = 4  # colours; a fifth class starts over
STATIC = Path(__file__).with_name("static")
SCRIPTS = ("stage", "strip", "branches", "cells", "keys", "address", "copy", "presets", "opening")


@cache
def script() -> str:
    """All of the page's JavaScript, in the order in which it needs itself."""
    return "\n".join((STATIC / f"{name}.js").read_text("utf-8") for name in SCRIPTS)


@cache
def elsewhere() -> str:
    """What another site's page runs that shows this one as a component."""
    return (STATIC / "elsewhere.js").read_text("utf-8")


@cache
def style() -> str:
    """All of the page's own style: the tints behind tokens, the pictures' colours, the layout."""
    return "\n".join(
        [
            f":root {{ {_tints(LIGHT)} {_classes()} }}",
            f".dark {{ {_tints(DARK)} }}",
            *(f".tint-{n} {{ background: var(--tint-{n}); }}" for n in range(len(level_colors()))),
            *(f".class-{n} {{ --class: var(--class-{n}); }}" for n in range(CLASSES)),
            theme_css(),
            *((STATIC / name).read_text("utf-8") for name in ("skeleton.css", "page.css")),
        ]
    )


def _classes() -> str:
    return " ".join(f"--class-{n}: {class_color(n)};" for n in range(CLASSES))


def _tints(theme: Theme) -> str:
    return " ".join(f"--tint-{n}: {color};" for n, color in enumerate(level_colors(theme=theme)))
