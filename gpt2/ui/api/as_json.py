"""Records as the JSON objects of the API."""

from collections.abc import AsyncIterator, Iterable

from gpt2.engine import Engine, Stream
from gpt2.records import Step, Trace
from gpt2.ui.page import CLOCK
from gpt2.ui.server.shares import READ
from gpt2.ui.server.visitors import count_tokens


async def streamed(engine: Engine, trace: Trace, text: Stream) -> AsyncIterator[dict]:
    """A completion as /generate and /branch answer: on a clock, each with what is new.

    An update holds the text so far and the records of the tokens since the last update, `start`
    is the index of the first of them; the last one is whole. So a long answer is sent twice, and
    not once for each of its tokens.

    Args:
        trace: the completion before its first token.
        text: what it gains.
    """
    records: list[dict] = []
    count_tokens(READ * len(trace.prompt_ids))
    async for batch in text.batches(CLOCK):
        count_tokens(len(batch))
        for update in batch:
            trace = trace.with_update(update)
        start = len(records)
        records += [step_json(engine, trace.model, step) for step in trace.steps[start:]]
        start = 0 if trace.finish_reason else start
        yield {**_trace_json(trace), "start": start, "tokens": records[start:]}


def _trace_json(trace: Trace) -> dict:
    """All of a completion but its tokens."""
    return {
        "model": trace.model,
        "prompt": trace.prompt,
        "completion": trace.completion,
        "text": trace.prompt + trace.completion,
        "finish_reason": trace.finish_reason,  # empty while it goes on
        "seed": trace.seed,
        "truncated": trace.truncated,
        "prompt_ids": list(trace.prompt_ids),
    }


def step_json(engine: Engine, model: str, step: Step) -> dict:
    """One token of it, with its own characters (None for part of one) and the likeliest others."""
    return {
        **token_json(engine, model, step.id),
        "text": engine.catalog.texts([step.id], model=model)[0],
        "prob": step.prob,
        "sampled_prob": step.sampled_prob,
        "logprob": step.logprob,
        "rank": step.rank,
        "entropy": step.entropy,
        "top": tokens_json(engine, model, step.top_ids, step.top_probs),
    }


def token_json(engine: Engine, model: str, token: int) -> dict:
    """A token by id and in its visible form."""
    return {"id": int(token), "piece": engine.catalog.pieces([int(token)], model=model)[0]}


def tokens_json(
    engine: Engine, model: str, tokens: Iterable[int], probs: Iterable[float]
) -> list[dict]:
    """Tokens with their probabilities."""
    return [
        {**token_json(engine, model, token), "prob": float(prob)}
        for token, prob in zip(tokens, probs, strict=True)
    ]
