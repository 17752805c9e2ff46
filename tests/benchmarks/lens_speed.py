"""How long each view of "Look inside" takes on this machine.

    python tests/benchmarks/lens_speed.py [--model NAME|DIR] [--device auto|cpu|cuda] [--tokens N]

One text of N tokens, the prediction that follows it; the median and the fastest of several runs are
printed as one JSON object, in milliseconds. Other work on the machine slows the median first.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from gpt2 import lens
from gpt2.devices import (
    pick_device,
    pick_dtype,
)
from gpt2.model import GPT2
from gpt2.records import METHODS
from gpt2.tokenizer import Tokenizer
from gpt2.weights import load_language_model
from gpt2.weights.hub import find_directory

TEXT = (
    "The old man walked slowly down the road to the village, thinking of his wife and of the "
    "children who had left the house many years before. When he came to the bridge he stopped and "
    "looked at the water. It was cold, and the wind was strong. He said to himself that he would "
    "go no further than the bridge that night. "
)


def views(model: GPT2, ids: list[int], answer: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name; each starts from a kept reading but the first."""
    reading, target, count = lens.Reading.of(model, ids), lens.Target(model, answer), len(ids)
    shares = {
        method: list(lens.attribute(target, reading, count, method))[-1].scores
        for method in METHODS
    }
    timed = {
        "reading": lambda: lens.Reading.of(model, ids),
        "attention": lambda: reading.attention(0),
        "tiles 16": lambda: reading.tiles(16),
        "rollout": lambda: reading.rollout(),
        "logit lens, one position": lambda: lens.logit_lens(reading, [count - 1]),
        "logit lens, all positions": lambda: lens.logit_lens(reading, range(count)),
        "model heads": lambda: lens.model_heads(model),
        "ablation map": lambda: list(lens.ablation_maps(reading, count, answer)),
        "faithfulness": lambda: list(lens.faithfulness(target, ids, shares)),
    }
    for method in METHODS:
        timed[method] = lambda method=method: list(lens.attribute(target, reading, count, method))
    return timed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    device = pick_device(args.device)
    dtype = pick_dtype("auto", device)
    directory = find_directory(args.model)
    model = load_language_model(directory, device=device, dtype=dtype)
    ids = Tokenizer(directory).encode(TEXT * (1 + args.tokens // 60))[: args.tokens + 1]
    found = {}
    for name, view in views(model, ids[:-1], ids[-1]).items():
        times = []
        for _ in range(args.runs + 1):  # the first is a warm-up
            start = time.perf_counter()
            view()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(1000 * (time.perf_counter() - start))
        middle, best = statistics.median(times[1:]), min(times[1:])
        found[name] = {"median": round(middle, 1), "fastest": round(best, 1)}
    place = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    report = {"device": place, "threads": torch.get_num_threads(), "tokens": len(ids) - 1}
    print(json.dumps(report | {"runs": args.runs, "milliseconds": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
