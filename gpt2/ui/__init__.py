"""The web page and the API: one Gradio Blocks with two tabs, of a text and an inspector each.

The browser keeps what a visitor looks at (static/stage.js) and asks; Python writes texts and draws
views, and keeps nothing of a visitor. Never imports torch itself: all that is shown comes from the
engine, as pictures of gpt2.figures.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from typing import Any

from gpt2.space import on_zerogpu
from gpt2.ui.server.scratch import scratch

# Before gradio is imported: no calls home, no Node server in front of this one, no need of a disk.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_SSR_MODE", "False")
os.environ.setdefault("GRADIO_TEMP_DIR", scratch())

import gradio as gr

if on_zerogpu():  # there it patches torch, and so comes before what imports that
    with suppress(ImportError):  # which the engine tells in words
        import spaces  # noqa: F401

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import Lifespan, Scope

from gpt2.engine import Engine
from gpt2.ui.api.endpoints import build_api
from gpt2.ui.classify.tab import build_classify
from gpt2.ui.generate.tab import build_generate
from gpt2.ui.opening import Opening, snapshot
from gpt2.ui.page import Page, places_of
from gpt2.ui.server.calls import Calls
from gpt2.ui.server.connections import Heartbeats
from gpt2.ui.server.door import Door, Porter
from gpt2.ui.server.guard import Guard, refuse_form, refuse_plainly
from gpt2.ui.server.health import health
from gpt2.ui.server.pace import Paced
from gpt2.ui.server.policy import page_policy
from gpt2.ui.server.served import Served
from gpt2.ui.server.sign_in import SignIn
from gpt2.ui.server.watch import Watch
from gpt2.ui.skeleton import skeleton
from gpt2.ui.style import elsewhere, script, style

TITLE = "GPT-2, from scratch"
# Gradio's files of weight 600 have some 60 letters; with them a word mixes two fonts.
FONTS = {
    "font": (gr.themes.LocalFont("Source Sans Pro", (400, 700)), "system-ui", "sans-serif"),
    "font_mono": (gr.themes.LocalFont("IBM Plex Mono", (400, 700)), "ui-monospace", "monospace"),
}

# What the first frame is written in; else it would be found after the style sheet.
PRELOADED = "".join(
    f'<link rel="preload" as="font" type="font/woff2" crossorigin '
    f'href="./static/fonts/SourceSansPro/SourceSansPro-{weight}.woff2">'
    for weight in ("Regular", "Bold")
)


def build_app(engine: Engine) -> gr.Blocks:
    """The page over an engine; launch it with launch_options()."""
    with Served(
        title=TITLE, analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True
    ) as app:
        page = _page(engine)
        with gr.Column(elem_id="page"):
            gr.HTML(_head(engine), elem_id="head", apply_default_css=False, js_on_load=elsewhere())
            with gr.Tabs():
                with gr.Tab("Generate"):
                    app.example = build_generate(page)
                with gr.Tab("Classify"):
                    build_classify(page)
        app.engine, app.skeleton, app.door = engine, skeleton(app), Door()
        build_api(engine)
    app.queue_fairly(places_of(engine.limits))
    return app


def launch_options(routes: Sequence[BaseRoute] = (), lifespan: Lifespan[Any] | None = None) -> dict:
    """Keyword arguments of Blocks.launch that belong to the page rather than to the machine.

    Args:
        routes: that the server has beside the page's.
        lifespan: of what answers there.
    """
    return {
        "theme": _theme(),
        "app_kwargs": {
            "middleware": [
                Middleware(Watch),
                Middleware(Guard),
                Middleware(Porter),
                Middleware(Heartbeats),
                Middleware(Paced),
                Middleware(SignIn),
                Middleware(Calls),
                Middleware(Opening, head=_own, body=_snapshot, policy=page_policy),
            ],
            "routes": [APIRoute("/health", health), *routes],
            "lifespan": lifespan,
            "exception_handlers": {
                RequestValidationError: refuse_form,
                HTTPException: refuse_plainly,
            },
            "docs_url": None,
            "openapi_url": None,
        },
        "footer_links": ["api", "settings"],
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": "1mb",
        "show_error": False,
        "state_session_capacity": 1000,
        "ssr_mode": False,
        "pwa": False,
        "quiet": True,
    }


def _theme() -> gr.themes.Base:
    """Gradio's own, with small print that can be read (4.5:1, WCAG 2.2) and one accent."""
    quiet = {"light": "#56565f", "dark": "#a9a9b4"}
    names = ("body_text_color_subdued", "block_info_text_color", "block_label_text_color")
    names += ("block_title_text_color", "input_placeholder_color", "accordion_text_color")
    colors = dict.fromkeys(names, quiet["light"])
    colors |= {f"{name}_dark": quiet["dark"] for name in names}
    accents = {"background_fill": "#4338ca", "background_fill_hover": "#3730a3"}
    for part, color in accents.items():
        colors |= {f"button_primary_{part}": color, f"button_primary_{part}_dark": color}
    colors |= {"button_primary_text_color": "#ffffff", "button_primary_text_color_dark": "#ffffff"}
    theme = gr.themes.Default(primary_hue="indigo", neutral_hue="zinc", **FONTS)
    return theme.set(**colors)


def _own(scope: Scope) -> str:
    app = scope["app"].get_blocks()
    return (
        f'<link rel="stylesheet" href="./theme.css?v={app.theme_hash}">{PRELOADED}'
        f"<style>{style()}</style><script>{script()}</script>"
    )


def _snapshot(scope: Scope) -> str:
    app: Served = scope["app"].get_blocks()
    example = app.example.get() if app.example else None
    return snapshot(app.skeleton, example, f"gradio-container-{gr.__version__.replace('.', '-')}")


def _page(engine: Engine) -> Page:
    """Hidden carriers between the browser and the handlers."""
    carriers = {
        name: gr.HTML(
            html_template="<i></i>",
            js_on_load=f"watch('value', () => gpt2.{name}.receive(props.value))",
            apply_default_css=False,
            elem_classes="carrier",
        )
        for name in ("ahead", "files")
    }
    return Page(engine, gr.JSON(visible=False), carriers["ahead"], carriers["files"])


def _head(engine: Engine) -> str:
    first = engine.library.describe(engine.catalog.models[0])
    second = engine.library.describe(engine.catalog.classifiers[0])
    device = {"cpu": "CPU", "cuda": "GPU (CUDA)", "mps": "GPU (Metal)"}
    where = f"{device.get(engine.library.device.type, '')} {first['dtype']}"
    size = f"{first['parameters'] / 1e6:.1f} M parameters"
    words = [first["name"], size, where, first["receipt"], f"classifier {second['name']}"]
    return (
        f"<h1>{TITLE}</h1>"
        f'<p class="models">{escape(" · ".join(str(word) for word in words if word))}</p>'
    )
