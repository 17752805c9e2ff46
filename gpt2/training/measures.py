"""How good a language model is on prose: perplexity of a text, and the last words of LAMBADA.

Perplexity over windows: Radford et al. 2019, section 3.1. LAMBADA: Paperno et al. 2016, the test
file as OpenAI published it.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2 import prediction
from gpt2.checks import check_text
from gpt2.model import GPT2
from gpt2.records.answers import perplexity
from gpt2.sampling import BAD_LOGITS
from gpt2.text_files import text_lines
from gpt2.tokenizer import Tokenizer

Shown = Callable[[Iterable[Any]], Iterable[Any]]


def text_perplexity(
    model: GPT2, tokenizer: Tokenizer, documents: Sequence[str], *, stride: int, shown: Shown = iter
) -> dict[str, Any]:
    """Perplexity of a text read in windows of the whole context.

    One document is taken as it is. Of several, blanks around each are dropped, and between two
    stands the token that ends a text, as in pretraining; it is scored like any other.

    Args:
        stride: tokens between the starts of two windows; each token is scored once, with at least
            n_ctx - stride tokens before it but for the first window, which starts from
            <|endoftext|>.
        shown: passes the windows on, and may tell how far it is.

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
    for start in shown(range(0, len(ids) - 1, stride)):
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


def lambada(
    model: GPT2, tokenizer: Tokenizer, path: str | Path, *, shown: Shown = iter
) -> dict[str, Any]:
    """Accuracy of the last token and of the whole last word, greedily; perplexity of the word.

    Args:
        shown: passes the rows on, and may tell how far it is.
    """
    texts = []
    for context, word in read_lambada(path):
        answer = tokenizer.encode(" " + word)
        if len(answer) > model.config.n_ctx:
            raise ValueError(
                f"a last word of {len(answer)} tokens is longer than the model's context of "
                f"{model.config.n_ctx}: {word[:20]}…"
            )
        ids = (tokenizer.encode(context) + answer)[-model.config.n_ctx - 1 :]
        texts.append((ids, len(answer)))
    if not texts:
        raise ValueError(f"{path} has no rows")
    lengths, rows = [len(ids) for ids, _ in texts], len(texts)
    scores = (
        score
        for batch in prediction.by_length(lengths, device=model.device)
        for score in prediction.score_texts(model, [texts[place] for place in batch])
    )
    token_hits = word_hits = 0
    total = 0.0
    for logprobs, ranks, _ in shown(scores):
        token_hits += int(ranks[-1] == 1)
        word_hits += int((ranks == 1).all())
        total -= float(logprobs.sum())
    nll = finite(total / rows)
    return {
        "protocol": "greedy, no stop-word filter; perplexity is of the last word",
        "rows": rows,
        "accuracy_last_token": token_hits / rows,
        "accuracy_last_word": word_hits / rows,
        "nll": nll,
        "perplexity": perplexity(nll),
    }
