"""What the Generate tab says and shows of a completion: lines of text, the strip, the bars.

Functions of what the page keeps; no components. Imports: engine, figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from gpt2.engine import Engine, Sampling
from gpt2.figures import percent, probability_alt, probability_figure
from gpt2.trace import Trace
from gpt2.ui.common import Viewport, picture
from gpt2.ui.strip import Numbers, token_strip

FINISHED = {
    "length": "stopped: length",
    "eos": "stopped: the model ended the text",
    "stop": "stopped: the stop text",
    "context": "stopped: the context is full",
    "deadline": "stopped: the time limit",
    "cancelled": "stopped: by you",
    "": "writing",
}


@dataclass(frozen=True)
class Shown:
    """What the page keeps of a completion: enough to recompute every view of it."""

    model: str
    ids: tuple[int, ...]
    prompt_length: int
    sampling: Sampling
    selected: int


def count_words(engine: Engine, prompt: str, model: str) -> str:
    """How much of the context a prompt takes."""
    try:
        context = engine.shape(model).n_ctx
        tokens = len(engine.encode(prompt, model=model)) if prompt else 0
    except (ValueError, OSError) as error:
        return str(error)
    words = f"{tokens:,} of {context:,} tokens"
    if tokens > context:
        words += "; the beginning will be dropped, the end is kept"
    return words


def settings_words(count: float, temperature: float, top_k: float, seed: float | None) -> str:
    """The settings that matter most, for the closed section's title."""
    heat = "greedy" if temperature == 0 else f"temperature {temperature:g}"
    keep = f"top-k {top_k:g}" if top_k else "all tokens"
    return f"Settings: {heat} · {keep} · {count:g} tokens · seed {seed or 0:g}"


def limits_words(engine: Engine) -> str:
    """What one request may ask for."""
    limits = engine.limits
    return (
        f"Limits: {limits.prompt_chars:,} characters of prompt, {limits.new_tokens} new tokens and "
        f"{limits.seconds:g} s a request, {limits.queue} requests waiting, {limits.models} models "
        "of each kind in memory."
    )


def status_line(trace: Trace) -> str:
    """The line under a completion: how much, how fast, with which seed and model, why it ended."""
    words = [
        f"{len(trace.steps)} tokens",
        f"{trace.tokens_per_second:.0f} tokens/s",
        f"seed {trace.seed}",
        trace.model,
        FINISHED[trace.finish_reason],
    ]
    if trace.truncated:
        words.append(f"the first {trace.truncated:,} tokens of the prompt were dropped")
    return f'<p class="status">{escape(" · ".join(words))}</p>'


def keep(trace: Trace, sampling: Sampling) -> Shown:
    """What the page keeps of a trace."""
    length = len(trace.prompt_ids)
    return Shown(trace.model, trace.ids, length, sampling, selected=length)


def trace_strip(engine: Engine, trace: Trace, by: str, screen: Viewport) -> str:
    """The strip while it is written."""
    return token_strip(
        engine.pieces(trace.ids, model=trace.model),
        Numbers(
            np.array([step.prob for step in trace.steps]),
            np.array([step.rank for step in trace.steps]),
            np.array([step.entropy for step in trace.steps]),
        ),
        prompt_length=len(trace.prompt_ids),
        by=by,
        theme=screen.theme,
    )


def shown_strip(engine: Engine, shown: Shown, by: str, screen: Viewport) -> str:
    """The strip of a text that is there, recomputed, with the selected token marked."""
    score = engine.score_tokens(shown.ids, model=shown.model)
    drawn = slice(shown.prompt_length - 1, None)
    return token_strip(
        engine.pieces(shown.ids, model=shown.model),
        Numbers(np.exp(score.logprobs[drawn]), score.ranks[drawn], score.entropies[drawn]),
        prompt_length=shown.prompt_length,
        by=by,
        theme=screen.theme,
        selected=shown.selected,
    )


def look_at(engine: Engine, shown: Shown, screen: Viewport) -> tuple[str, str]:
    """Header and bars of the selected token."""
    index = shown.selected
    step = engine.step(shown.ids, index, shown.sampling, model=shown.model)
    ids: Sequence[int] = step.top_ids
    probs, sampled = list(step.top_probs), list(step.top_sampled_probs)
    if step.id not in ids:
        ids, probs, sampled = (*ids, step.id), [*probs, step.prob], [*sampled, step.sampled_prob]
    pieces = engine.pieces(ids, model=shown.model)
    chosen = ids.index(step.id)
    ranks = [*range(1, len(step.top_ids) + 1), step.rank][: len(ids)]
    alt = probability_alt(pieces, probs, sampled, chosen, ranks=ranks)
    width = min(screen.width, 760)
    figure = probability_figure(
        pieces, probs, sampled, chosen, ranks=ranks, theme=screen.theme, width=width
    )
    place = index - shown.prompt_length + 1
    where = f"Token {place}" if place > 0 else f"Prompt token {index + 1}"
    header = (
        f'<p class="token"><b>{where}</b> <code>{escape(pieces[chosen])}</code> '
        f"{percent(step.prob)} · rank {step.rank:,} · entropy {step.entropy:.1f} nats</p>"
    )
    return header, picture(figure, alt, width=width, name=f"token-{index}")
