"""How long each view of the page takes to draw, on this machine, without a browser.

    python tests/benchmarks/view_speed.py [--model NAME|DIR] [--device auto|cpu|cuda] [--tokens N]

A completion of N tokens with its prompt, its last token selected; what the page's server does from
the question to the finished answer: to the first picture, and where a view fills step by step also
to the last. Medians of several runs as one JSON object, in milliseconds; the first run, which reads
the text, is not counted but told.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import gradio as gr
import torch

from gpt2.engine import Engine, Request, Sampling
from gpt2.records import METHODS
from gpt2.ui.example import asked_of
from gpt2.ui.generate.writing import Wanted, Writing
from gpt2.ui.inside.attention import build_attention
from gpt2.ui.inside.attention_maps import KINDS
from gpt2.ui.inside.logit_lens import build_lens
from gpt2.ui.inside.next_token import build_next_token
from gpt2.ui.inside.score import build_score
from gpt2.ui.inside.switch import build_switch
from gpt2.ui.inside.why import ALL, TRUE, build_why
from gpt2.ui.page import Page
from gpt2.ui.server.collector import spare_what_is_here
from gpt2.ui.view import View

PROMPT = "The president said on Tuesday that"
WIDTH = 740  # CSS pixels of a view, on a screen of 1280
HEAD_OFF = ["head", 5, 2, 0]

Look = dict[str, Any]


def asked(writing: Writing, tokens: int) -> dict[str, Any]:
    """What the page asks of a text of so many tokens, the last one selected."""
    engine = writing.engine
    name = engine.catalog.models[0]
    count = tokens - len(engine.catalog.encode(PROMPT, model=name))
    request = Request(PROMPT, count, Sampling(), model=name)

    async def lines() -> str:
        return "".join([part async for part in writing.lines(Wanted(request))])

    raw = asked_of(asyncio.run(lines()))
    look = {"token": len(raw["text"]["ids"]) - 1, "width": WIDTH, "layer": 5, "head": 2}
    return {**raw, "look": look}


def timed(page: Page, writing: Writing) -> dict[str, tuple[View, Look]]:
    """The views and what they are set to, by name."""
    attention, switch = build_attention(page, "generate"), build_switch(page, writing)
    why = build_why(page, "generate")
    return {
        "next token": (build_next_token(page), {}),
        **{f"attention: {kind}": (attention, {"kind": kind}) for kind in KINDS},
        "layers": (build_lens(page), {}),
        "switch off": (switch, {}),
        "switch off: a head": (switch, {"parts": [HEAD_OFF]}),
        **{f"why: {method}": (why, {"method": method}) for method in (*METHODS, ALL)},
        "why: is it true?": (why, {"check": TRUE}),
        "score": (build_score(page), {}),
    }


def answered(view: View, raw: dict[str, Any]) -> list[float]:
    """Milliseconds until each of its answers is there.

    Raises:
        ValueError: it has none.
    """
    start, found = time.perf_counter(), []
    for answer in view.answers(raw):
        found.append(1000 * (time.perf_counter() - start))
        if refused := json.loads(answer).get("refused"):
            raise ValueError(refused)
    return found[: max(1, len(found) - 1)]  # the last only says that it was the last


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    engine = Engine.load(args.model, device=args.device)
    with gr.Blocks():
        page = Page(engine, gr.JSON(), gr.HTML(), gr.HTML())
        writing = Writing(page)
        views = timed(page, writing)
    raw, found = asked(writing, args.tokens), {}
    spare_what_is_here()  # as a server that runs has
    for name, (view, look) in views.items():
        about = {**raw, "look": {**raw["look"], **look}}
        once, *runs = [answered(view, about) for _ in range(args.runs + 1)]
        found[name] = {"first run": round(once[-1])}
        found[name]["first picture"] = round(statistics.median(run[0] for run in runs))
        if max(map(len, runs)) > 1:
            found[name]["whole"] = round(statistics.median(run[-1] for run in runs))
    report = {"device": engine.library.device.type, "threads": torch.get_num_threads()}
    report |= {"tokens": len(raw["text"]["ids"]), "runs": args.runs}
    print(json.dumps(report | {"milliseconds": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
