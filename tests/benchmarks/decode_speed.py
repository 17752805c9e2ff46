"""Tokens per second of plain generation, and of transformers beside it on the same machine.

    python tests/benchmarks/decode_speed.py [--model NAME|DIR] [--device auto|cpu|cuda]

Greedy, one stream, 128 new tokens after a short prompt, sampling statistics included; the two take
turns and the medians of several runs and their ratio are printed as one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from gpt2 import fast
from gpt2.devices import (
    pick_device,
    pick_dtype,
)
from gpt2.fast import Draw, Feed
from gpt2.sampling import Sampling
from gpt2.tokenizer import Tokenizer
from gpt2.weights import load_language_model
from gpt2.weights.hub import find_directory

NEW_TOKENS = 128


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    from transformers import GPT2LMHeadModel

    device = pick_device(args.device)
    dtype = pick_dtype("auto", device)
    directory = find_directory(args.model)
    ids = Tokenizer(directory).encode("The president said on Tuesday that")
    ours = fast.decoder(load_language_model(directory, device=device, dtype=dtype))  # as a page has
    theirs = GPT2LMHeadModel.from_pretrained(directory, dtype=dtype).to(device).eval()

    def run_ours() -> list[int]:
        seen, cache = list(ids), ours.cache(len(ids) + NEW_TOKENS)
        while len(seen) < len(ids) + NEW_TOKENS:
            logits = ours.read([Feed(cache, seen[cache.length :])])
            seen += [step.id for step in ours.choose(logits, [Draw(Sampling(temperature=0), seen)])]
        return seen[len(ids) :]

    def run_theirs() -> list[int]:
        batch = torch.tensor([ids], device=device)
        with torch.inference_mode():
            out = theirs.generate(
                batch,
                attention_mask=torch.ones_like(batch),
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                min_new_tokens=NEW_TOKENS,
                pad_token_id=50256,
            )
        return out[0, len(ids) :].tolist()

    speeds: dict[str, list[float]] = {"ours": [], "transformers": []}
    for turn in range(args.runs + 1):  # the first is a warm-up
        for name, run in (("ours", run_ours), ("transformers", run_theirs)):
            start = time.perf_counter()
            run()
            if turn:
                speeds[name].append(NEW_TOKENS / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    print(
        json.dumps(
            {
                "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
                "dtype": str(dtype),
                "tokens_per_second": medians,
                "ratio": medians["ours"] / medians["transformers"],
                "runs": args.runs,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
