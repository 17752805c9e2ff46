"""How long each part of "Look inside" takes to open, picture included, on this machine.

    python tests/benchmarks/view_speed.py [--model NAME|DIR] [--device auto|cpu|cuda] [--tokens N]

A completion of N tokens with its prompt, its last token selected; what the page's server does from
the click to the finished HTML: of its first picture, and where it fills step by step also of its
last. Medians of several runs as one JSON object, in milliseconds; the first run, which reads the
text, is not counted but told.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from gpt2.ui.generate.completion import Shown, keep, token_drawing

from gpt2.engine import Engine, Request, Sampling
from gpt2.figures import LIGHT
from gpt2.records import METHODS
from gpt2.ui import build_app
from gpt2.ui.inside.attention import LAYER, MODEL, attention_drawings
from gpt2.ui.inside.attention_maps import KINDS, AttentionMaps
from gpt2.ui.inside.attention_maps import ONE_HEAD as HEAD_MAP
from gpt2.ui.inside.logit_lens import lens_drawings
from gpt2.ui.inside.switch import HEAD, bars_drawing, map_drawings
from gpt2.ui.inside.why import Question, attribution_drawings, truth_drawings
from gpt2.ui.page import Viewport
from gpt2.ui.picture import Drawing

PROMPT = "The president said on Tuesday that"
SCREEN = Viewport(1006, LIGHT)


def complete(engine: Engine, tokens: int) -> Shown:
    """A text of so many tokens, the last one selected."""
    name = engine.catalog.models[0]
    count = tokens - len(engine.catalog.encode(PROMPT, model=name))
    request = Request(PROMPT, count, Sampling(), model=name)
    *_, trace = engine.generate(request)
    return keep(trace, request, selected=len(trace.ids) - 1)


def views(engine: Engine, shown: Shown) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    maps = AttentionMaps(engine, shown.model, shown.ids, 5, 2, 0, SCREEN)
    answer = shown.ids[shown.selected]
    name = engine.catalog.pieces([answer], model=shown.model)[0]
    asked = Question(shown.model, shown.ids, shown.selected, answer, name)
    off = (((HEAD, 0, 0), 0.0),)
    attention = partial(attention_drawings, engine, shown, HEAD_MAP, 5, 2, 0)
    timed = {
        "attention": lambda: attention(LAYER, SCREEN),
        "attention, all heads": lambda: attention(MODEL, SCREEN),
        "the draw": lambda: token_drawing(
            engine,
            shown,
            engine.inspector.step(shown.ids, shown.selected, shown.sampling, model=shown.model),
            SCREEN,
        ),
        "heads of a layer": lambda: maps.whole_layer("attention"),
        "heads of all layers": maps.whole_model,
        "logit lens": lambda: lens_drawings(engine, shown, SCREEN),
        "map of heads off": lambda: map_drawings(engine, shown, SCREEN),
        "bars of heads off": lambda: bars_drawing(engine, shown, off, SCREEN),
        "is it true": lambda: truth_drawings(engine, asked, SCREEN),
    }
    for kind in KINDS:
        timed[f"map: {kind}"] = lambda kind=kind: maps.single(kind)
    for methods in (*((method,) for method in METHODS), METHODS):
        timed[" + ".join(methods)] = lambda methods=methods: attribution_drawings(
            engine, asked, methods, "", SCREEN
        )
    return timed


def opened(view: Callable[[], object]) -> list[float]:
    """Milliseconds until the HTML of each of its pictures is there, made as the page does."""
    start, found = time.perf_counter(), []
    drawn = view()
    for values in drawn if isinstance(drawn, Iterator) else (drawn,):
        for value in values if isinstance(values, tuple) else (values,):
            if isinstance(value, Drawing):
                value.html()
        found.append(1000 * (time.perf_counter() - start))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    engine = Engine.load(args.model, device=args.device)
    build_app(engine)  # as a server that runs has
    shown = complete(engine, args.tokens)
    found = {}
    for name, view in views(engine, shown).items():
        once, *runs = [opened(view) for _ in range(args.runs + 1)]
        found[name] = {"first run": round(once[0])}
        found[name]["first picture"] = round(statistics.median(run[0] for run in runs))
        if max(map(len, runs)) > 1:
            found[name]["whole"] = round(statistics.median(run[-1] for run in runs))
    report = {"device": engine.library.device.type, "threads": torch.get_num_threads()}
    report |= {"tokens": len(shown.ids), "runs": args.runs}
    print(json.dumps(report | {"milliseconds": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
