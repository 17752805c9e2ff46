"""Tokens per second of writing, and of transformers beside it on the same machine.

    python tests/benchmarks/decode_speed.py [--model NAME|DIR] [--device cpu|cuda] [--rows N ...]

Greedy, 128 new tokens after a short prompt, 1, 8 and 64 texts at once on a GPU and 1 elsewhere, all
statistics included; the two take turns, and the medians of several runs and their ratio are printed
as one JSON object for each number of texts.
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
from gpt2.devices import device_name, pick_device, pick_dtype
from gpt2.sampling import Sampling
from gpt2.tokenizer import Tokenizer
from gpt2.weights import load_language_model
from gpt2.weights.hub import find_directory

NEW_TOKENS = 128
GREEDY = Sampling(temperature=0)


def write(decoder: fast.Decoder, prompt: list[int], rows: int) -> None:
    """The same text so many times at once."""
    texts = [list(prompt) for _ in range(rows)]
    caches = [decoder.cache(len(prompt) + NEW_TOKENS) for _ in texts]
    for _ in range(NEW_TOKENS):
        feeds = [
            fast.Feed(cache, text[cache.length :])
            for cache, text in zip(caches, texts, strict=True)
        ]
        logits = decoder.read(feeds)
        for text, step in zip(
            texts, decoder.choose(logits, [fast.Draw(GREEDY, text) for text in texts]), strict=True
        ):
            text.append(step.id)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    from transformers import GPT2LMHeadModel

    device = pick_device(args.device)
    dtype = pick_dtype("auto", device)
    directory = find_directory(args.model)
    ids = Tokenizer(directory).encode("The president said on Tuesday that")
    decoder = fast.decoder(load_language_model(directory, device=device, dtype=dtype))
    theirs = GPT2LMHeadModel.from_pretrained(directory, dtype=dtype).to(device).eval()

    def run_theirs(rows: int) -> None:
        batch = torch.tensor([ids] * rows, device=device)
        with torch.inference_mode():
            theirs.generate(
                batch,
                attention_mask=torch.ones_like(batch),
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                min_new_tokens=NEW_TOKENS,
                pad_token_id=50256,
            ).tolist()

    for rows in args.rows or ((1, 8, 64) if device.type == "cuda" else (1,)):
        speeds: dict[str, list[float]] = {"ours": [], "transformers": []}
        for turn in range(args.runs + 1):  # the first is a warm-up
            for name in speeds:
                start = time.perf_counter()
                if name == "ours":
                    write(decoder, ids, rows)
                else:
                    run_theirs(rows)
                if turn:
                    speeds[name].append(rows * NEW_TOKENS / (time.perf_counter() - start))
        medians = {name: statistics.median(values) for name, values in speeds.items()}
        result = {
            "device": device_name(device),
            "dtype": str(dtype),
            "rows": rows,
            "tokens_per_second": medians,
            "ratio": medians["ours"] / medians["transformers"],
            "runs": args.runs,
        }
        print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
