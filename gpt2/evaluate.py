"""`python -m gpt2.evaluate`: how good a model is, as one JSON object that names its protocol.

Text: perplexity over windows (Radford et al. 2019, section 3.1). LAMBADA: Paperno et al. 2016, the
test file as OpenAI published it. AG News: accuracy and macro F1 of a classifier.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from gpt2 import prediction, weights
from gpt2.agnews.news import read_agnews, rows_of_classes
from gpt2.agnews.rows import Rows, news_metrics
from gpt2.checks import check_text
from gpt2.classifier import reading_length
from gpt2.command import run_command
from gpt2.devices import pick_device
from gpt2.flags import add_debug_flag
from gpt2.model import GPT2
from gpt2.records.answers import perplexity
from gpt2.sampling import BAD_LOGITS
from gpt2.text_files import text_lines
from gpt2.tokenizer import Tokenizer, load_tokenizer
from gpt2.training.corpus import read_documents
from gpt2.weights.hub import find_directory


def text_perplexity(
    model: GPT2, tokenizer: Tokenizer, documents: Sequence[str], *, stride: int
) -> dict[str, Any]:
    """Perplexity of a text read in windows of the whole context.

    One document is taken as it is. Of several, blanks around each are dropped, and between two
    stands the token that ends a text, as in pretraining; it is scored like any other.

    Args:
        stride: tokens between the starts of two windows; each token is scored once, with at least
            n_ctx - stride tokens before it but for the first window, which starts from
            <|endoftext|>.

    Returns:
        What is printed; perplexity is None where exp(nll) is past a float's range.

    Raises:
        FloatingPointError: the model gave logits that are not numbers.
    """
    n_ctx = model.config.n_ctx
    if not 1 <= stride <= n_ctx:
        raise ValueError(f"stride is {stride}; it must be 1 to {n_ctx}")
    if len(documents) > 1:
        documents = [text.strip() for text in documents if text.strip()]
        if tokenizer.end_id is None:
            raise ValueError(
                f"the text has {len(documents)} documents, and the model's vocabulary no token to "
                "put between them"
            )
    ids = [] if tokenizer.start_id is None else [tokenizer.start_id]
    for number, text in enumerate(documents):
        if number and tokenizer.end_id is not None:
            ids.append(tokenizer.end_id)
        ids += tokenizer.encode(text)
    if len(ids) < 2:
        raise ValueError("the text is empty")
    total, count = 0.0, 0
    for start in tqdm(range(0, len(ids) - 1, stride), unit="window", disable=None):
        window = ids[start : start + n_ctx + 1]
        fresh = len(window) - 1 if start == 0 else len(window) - 1 - (n_ctx - stride)
        if fresh <= 0:
            break
        logprobs = prediction.score_tokens(model, window, last=fresh)[0]
        total -= float(logprobs.astype(np.float64).sum())
        count += fresh
    nll = finite(total / count)
    after = "its first token" if tokenizer.start_id is None else tokenizer.text(tokenizer.start_id)
    parted = f", {len(documents)} documents parted by it" if len(documents) > 1 else ""
    size = sum(len(text.encode("utf-8")) for text in documents)
    return {
        "protocol": f"windows of {n_ctx} tokens, stride {stride}, after {after}{parted}",
        "tokens": count,
        "nll": nll,
        "perplexity": perplexity(nll),
        "bits_per_byte": total / math.log(2) / size,
    }


def finite(nll: float) -> float:
    """A mean negative log-likelihood, once it is known to be a number.

    Raises:
        FloatingPointError: it is not.
    """
    if not math.isfinite(nll):
        raise FloatingPointError(BAD_LOGITS)
    return nll


def read_lambada(path: str | Path) -> Iterator[tuple[str, str]]:
    """(context, last word) of each line of a file of {"text": ...} objects; empty lines are none.

    Raises:
        FileNotFoundError, ValueError: no such file, or a line that is no text of two words.
    """
    lines = text_lines(path, wanted="--lambada takes lambada_test.jsonl")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"].strip()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f'{path} line {number} is no object with "text"') from error
        context, _, word = text.rpartition(" ")
        if not context.strip():
            raise ValueError(f"{path} line {number} has no word before the last one")
        try:
            check_text(text)
        except ValueError as error:
            raise ValueError(f"{path} line {number}: {error}") from error
        yield context, word


def lambada(model: GPT2, tokenizer: Tokenizer, path: str | Path) -> dict[str, Any]:
    """Accuracy of the last token and of the whole last word, greedily; perplexity of the word."""
    token_hits = word_hits = rows = 0
    total = 0.0
    for context, word in tqdm(read_lambada(path), unit="row", disable=None):
        answer = tokenizer.encode(" " + word)
        if len(answer) > model.config.n_ctx:
            raise ValueError(
                f"a last word of {len(answer)} tokens is longer than the model's context of "
                f"{model.config.n_ctx}: {word[:20]}…"
            )
        ids = (tokenizer.encode(context) + answer)[-model.config.n_ctx - 1 :]
        logprobs, ranks, _ = prediction.score_tokens(model, ids, last=len(answer))
        token_hits += int(ranks[-1] == 1)
        word_hits += int((ranks == 1).all())
        total -= float(logprobs.sum())
        rows += 1
    if not rows:
        raise ValueError(f"{path} has no rows")
    nll = finite(total / rows)
    return {
        "protocol": "greedy, no stop-word filter; perplexity is of the last word",
        "rows": rows,
        "accuracy_last_token": token_hits / rows,
        "accuracy_last_word": word_hits / rows,
        "nll": nll,
        "perplexity": perplexity(nll),
    }


def agnews(
    directory: Path,
    path: str,
    *,
    device: torch.device,
    max_length: int | None = None,
    labels: str | None = None,
) -> dict[str, Any]:
    """Accuracy and macro F1 of a classifier on a CSV.

    Args:
        max_length: tokens read of a text; those of the model's training if None.
        labels: the model's labels for classes 1 to 4, with commas; by their names if None.

    Raises:
        FileNotFoundError, ValueError: no such file; the model's labels are others.
    """
    model = weights.load_classifier(directory, device=device)
    config = model.transformer.config
    rows_of_classes(config.labels, given=labels)  # refuses before the work
    tokenizer = load_tokenizer(directory, rows=config.vocab_size)
    if max_length is None:
        max_length = reading_length(tokenizer, config)
    if not 1 <= max_length <= config.n_ctx:
        raise ValueError(f"--max-length is {max_length}; it must be 1 to {config.n_ctx}")
    rows = Rows(read_agnews(path), tokenizer, max_length=max_length)
    return {
        "protocol": f"cleaned title and description, first {max_length} tokens, last-token logits",
        **news_metrics(model, rows, labels=labels),
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
    made.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
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
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a model by its name or directory on one of three kinds of file.

    Raises:
        FileNotFoundError, ValueError: there is no such model or file, or they don't fit.
    """
    directory, where = find_directory(model), pick_device(device)
    if agnews_file:
        return agnews(directory, agnews_file, device=where, max_length=max_length, labels=labels)
    loaded = weights.load_language_model(directory, device=where)
    tokenizer = load_tokenizer(directory, rows=loaded.config.vocab_size)
    if lambada_file:
        return lambada(loaded, tokenizer, lambada_file)
    documents = list(read_documents(text or ""))
    if not any(documents):
        raise ValueError(f"{text} is empty; there is nothing to measure")
    stride = loaded.config.n_ctx if stride is None else stride
    return text_perplexity(loaded, tokenizer, documents, stride=stride)


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    args = parser().parse_args(argv)

    def work() -> int:
        found = evaluate(
            args.model,
            text=args.text,
            lambada_file=args.lambada,
            agnews_file=args.agnews,
            stride=args.stride,
            max_length=args.max_length,
            labels=args.labels,
            device=args.device,
        )
        print(json.dumps({"model": args.model, **found}, allow_nan=False))
        return 0

    return run_command("gpt2.evaluate", work, debug=args.debug)


if __name__ == "__main__":
    sys.exit(main())
