"""`python -m gpt2.evaluate`: how good a model is, as one JSON object that names its protocol."""

import sys

from gpt2.ending import end_at_once, end_in_order

if __name__ == "__main__":  # before the imports that take a while
    end_at_once("gpt2.evaluate")

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from gpt2 import fast, weights
from gpt2.agnews.news import read_agnews, rows_of_classes
from gpt2.agnews.rows import news_scores
from gpt2.classifier import reading_length
from gpt2.command import run_command
from gpt2.config import DTYPES
from gpt2.devices import pick_device, pick_dtype
from gpt2.flags import add_debug_flag
from gpt2.news_workers import Job, classify
from gpt2.tokenizer import load_tokenizer
from gpt2.training.corpus import read_documents
from gpt2.training.measures import lambada, text_perplexity
from gpt2.weights.hub import find_directory


def agnews(
    directory: Path,
    path: str,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    max_length: int | None = None,
    labels: str | None = None,
    workers: int | None = None,
    out: str | None = None,
) -> dict[str, Any]:
    """Accuracy and macro F1 of a classifier on a CSV.

    Args:
        max_length: tokens read of a text; those of the model's training if None.
        labels: the model's labels for classes 1 to 4, with commas; by their names if None.
        workers: processes that share the rows; this one alone if None.
        out: directory in which they keep what is done, to go on from.

    Raises:
        FileNotFoundError, ValueError: no such file; the model's labels are others.
    """
    config = weights.read_config(directory)
    if not config.labels:
        raise ValueError(f"{directory} is a language model, no classifier: it names no labels")
    rows_of_classes(config.labels, given=labels)  # refuses before the work
    tokenizer = load_tokenizer(directory, rows=config.vocab_size)
    if max_length is None:
        max_length = reading_length(tokenizer, config)
    if not 1 <= max_length <= config.n_ctx:
        raise ValueError(f"--max-length is {max_length}; it must be 1 to {config.n_ctx}")
    numbers = str(dtype).removeprefix("torch.")
    job = Job(str(directory.resolve()), str(Path(path).resolve()), max_length, device.type, numbers)
    if workers is None:
        model = job.classifier()
        news = read_agnews(path)
        probs = job.predict(model, news)
    else:
        news = read_agnews(path)
        shown = partial(tqdm, unit="part", disable=None)
        kept = None if out is None else Path(out)
        probs = classify(job, len(news), workers=workers, out=kept, shown=shown)
    return {
        "protocol": f"cleaned title and description, first {max_length} tokens, last-token logits",
        **news_scores(probs, news.labels, config.labels, labels=labels),
    }


def parser() -> argparse.ArgumentParser:
    """Command line, with defaults and units."""
    made = argparse.ArgumentParser(
        prog="python -m gpt2.evaluate", description="Measure a model; prints one JSON object."
    )
    made.add_argument("--model", required=True, metavar="NAME|DIR")
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="FILE", help="perplexity of a text")
    what.add_argument("--lambada", metavar="FILE", help="lambada_test.jsonl")
    what.add_argument("--agnews", metavar="CSV", help="accuracy of a classifier")
    made.add_argument("--stride", type=int, metavar="N", help="tokens, default n_ctx")
    made.add_argument(
        "--max-length",
        type=int,
        metavar="N",
        help="tokens of a news text (as in training, which the model's tokenizer_config.json says)",
    )
    made.add_argument(
        "--labels",
        metavar="A,B,C,D",
        help="the model's labels for World, Sports, Business and Sci/Tech (found by their names)",
    )
    made.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that share the rows of --agnews, in the Ray cluster at RAY_ADDRESS or here "
        '(needs "ray[data]"; without it this process)',
    )
    made.add_argument(
        "--out",
        metavar="DIR",
        help="where --workers keep what is done; the same command goes on from there",
    )
    made.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    made.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="number type of the weights (float32)"
    )
    add_debug_flag(made)
    return made


def evaluate(
    model: str,
    *,
    text: str | None = None,
    lambada_file: str | None = None,
    agnews_file: str | None = None,
    stride: int | None = None,
    max_length: int | None = None,
    labels: str | None = None,
    workers: int | None = None,
    out: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
) -> dict[str, Any]:
    """Measure a model by its name or directory on one of three kinds of file.

    Raises:
        FileNotFoundError, ValueError: there is no such model or file, or they don't fit.
    """
    directory, where = find_directory(model), pick_device(device)
    numbers = pick_dtype(dtype, where)
    if agnews_file:
        return agnews(
            directory,
            agnews_file,
            device=where,
            dtype=numbers,
            max_length=max_length,
            labels=labels,
            workers=workers,
            out=out,
        )
    read_in = fast.computed_in(numbers, where)
    loaded = weights.load_language_model(directory, device=where, dtype=read_in)
    loaded = fast.reader(fast.stored(loaded, numbers))
    tokenizer = load_tokenizer(directory, rows=loaded.config.vocab_size)
    if lambada_file:
        shown = partial(tqdm, unit="row", disable=None)
        return lambada(loaded, tokenizer, lambada_file, shown=shown)
    documents = list(read_documents(text or ""))
    if not any(documents):
        raise ValueError(f"{text} is empty; there is nothing to measure")
    stride = loaded.config.n_ctx if stride is None else stride
    shown = partial(tqdm, unit="window", disable=None)
    return text_perplexity(loaded, tokenizer, documents, stride=stride, shown=shown)


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    made = parser()
    args = made.parse_args(argv)
    if args.workers is not None and not (args.agnews and args.workers >= 1):
        made.error(f"--workers is {args.workers}; it takes 1 or more, and goes with --agnews")
    if args.out is not None and args.workers is None:
        made.error("--out is where --workers keep what is done; give --workers too")

    def work() -> int:
        found = evaluate(
            args.model,
            text=args.text,
            lambada_file=args.lambada,
            agnews_file=args.agnews,
            stride=args.stride,
            max_length=args.max_length,
            labels=args.labels,
            workers=args.workers,
            out=args.out,
            device=args.device,
            dtype=args.dtype,
        )
        print(json.dumps({"model": args.model, **found}, allow_nan=False))
        return 0

    return run_command("gpt2.evaluate", work, debug=args.debug)


if __name__ == "__main__":
    end_in_order("gpt2.evaluate")
    sys.exit(main())
