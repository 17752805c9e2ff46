"""A text on its way to the page: lines of JSON, of which the page adds what is new to what it has.

text    begins one: what was asked for, and the tokens of its prompt
token   one more token, with its numbers
read    of a news text that is read at once: what leads after each token
said    how far it is, in words
end     the words that stay, and where to look
refused why it can't be had
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gpt2.engine import Engine, Request
from gpt2.figures import percent, token_level
from gpt2.records import Step, Trace, Verdict
from gpt2.ui.link import made_with, proof
from gpt2.ui.record import SETTINGS, Choice

TINTS = ("probability", "rank", "entropy")  # in this order the levels of a token come


def text_line(
    engine: Engine,
    begun: Trace,
    request: Request,
    texts: Sequence[str],
    *,
    chosen: Sequence[Choice] = (),
    moment: int = 0,
) -> str:
    """The beginning of a text.

    Args:
        begun: what engine.writer.begin gave for the request.
        texts: of its tokens, spelled.
        moment: when the page asked for it, so that no two first lines are the same.
    """
    settings: dict[str, Any] = {name: getattr(request.sampling, name) for name in SETTINGS}
    settings |= {"max_new_tokens": request.max_new_tokens, "stop": request.stop}
    more = {"settings": settings, "chosen": [list(pair) for pair in chosen]}
    ids = begun.prompt_ids
    return _first_line(engine, begun.model, begun.prompt, ids, texts, moment=moment, **more)


def news_line(engine: Engine, found: Verdict, news: str, moment: int) -> str:
    """The beginning of a news text: all that was read of it."""
    more = {"settings": {}, "chosen": [], "labels": found.labels, "moment": moment}
    texts = list(map(engine.catalog.speller(model=found.model), found.ids))
    return _first_line(engine, found.model, news, found.ids, texts, **more)


def _first_line(
    engine: Engine, model: str, prompt: str, ids: Sequence[int], texts: Sequence[str], **more: Any
) -> str:
    config = engine.catalog.config(model)
    known = {
        "model": model,
        **asdict(made_with(engine, model)),
        "layers": config.n_layer,
        "heads": config.n_head,
        "prompt": prompt,
        "prompt_length": len(ids),
        "ids": ids,
        "texts": texts,
    }
    return _line("text", known | more)


def token_line(step: Step, text: str) -> str:
    """A token that was drawn: its text, its numbers as the page says them, its three tints."""
    levels = [
        token_level(value, by)
        for by, value in zip(TINTS, (step.prob, step.rank, step.entropy), strict=True)
    ]
    return _line(
        "token", step.id, text, percent(step.prob), step.rank, f"{step.entropy:.1f}", levels
    )


def read_line(found: Verdict) -> str:
    """Of each token of a news text the class that leads after it, and how far."""
    leaders = found.per_token.argmax(axis=1).tolist()
    shown = [percent(float(probs.max())) for probs in found.per_token]
    return _line("read", list(zip(leaders, shown, strict=True)))


def said_line(words: str) -> str:
    """How far a text is."""
    return _line("said", words)


def end_line(
    status: str, *, selected: int, completion: str, ids: Sequence[int], **more: Any
) -> str:
    """The end of a text.

    Args:
        status: the line about it.
        selected: the token that the views begin with.
        completion: what was written, as a whole.
        ids: of what was written, for its proof.
        more: "verdict", on a text that a link asked for; "look", how it is looked at; "preset", the
            name of what it is and a sentence on it.
    """
    known = {"status": status, "selected": selected, "completion": completion}
    return _line("end", known | {"proof": proof(ids)} | more)


def refused_line(words: str, moment: int) -> str:
    """Why a text can't be had.

    Args:
        moment: when it was asked for, so that no two are the same.
    """
    return _line("refused", words, moment)


def _line(*values: Any) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"
