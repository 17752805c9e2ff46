"""What the Generate tab says and shows of a completion: lines of text, the strip, the bars.

Functions of what the page keeps; no components.
"""

import json
from dataclasses import dataclass
from functools import partial
from html import escape

import numpy as np

from gpt2.engine import Engine, Request, Sampling
from gpt2.figures import (
    Picture,
    TokenBars,
    WaterfallBars,
    counted,
    percent,
    vocabulary_columns,
)
from gpt2.records import Step, Trace
from gpt2.ui.page import Viewport
from gpt2.ui.picture import Drawing
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


def count_js(limit: int) -> str:
    """Fills an event's last input with the length of the first, a text, and leaves out one that is
    over the limit: the web server would refuse to read it."""
    return f"""(text, ...rest) => {{
        rest[rest.length - 1] = [...text].length;
        return [rest[rest.length - 1] > {limit} ? "" : text, ...rest];
    }}"""


@dataclass(frozen=True)
class Shown:
    """What the page keeps of a completion: enough to recompute every view of it.

    Args:
        request: what was asked for, its seed no longer random.
        ids: of prompt and completion.
        prompt_length: how many are the prompt's.
        completion: as text.
        status: the line about it.
        selected: the place that the views are about.
        chosen: the places whose tokens the visitor chose.
    """

    request: Request
    ids: tuple[int, ...]
    prompt_length: int
    completion: str
    status: str
    selected: int
    chosen: frozenset[int] = frozenset()

    @property
    def model(self) -> str:
        """Name of the model that wrote it."""
        return self.request.model

    @property
    def sampling(self) -> Sampling:
        """How its tokens were drawn."""
        return self.request.sampling


def count_words(engine: Engine, prompt: str | None, model: str, length: object = None) -> str:
    """How much of the context a prompt takes.

    Args:
        length: characters of a prompt so long that the page does not send it, see count_js.
    """
    prompt, limit = prompt or "", engine.limits.prompt_chars
    if isinstance(length, int) and length > limit:
        return f"the prompt has {length:,} characters; the limit is {limit:,}; shorten it"
    try:
        engine.library.get(model)  # one that was just picked may not load
        context = engine.catalog.config(model).n_ctx
        tokens = len(engine.catalog.encode(prompt, model=model)) if prompt else 0
    except (ValueError, OSError) as error:
        return str(error)
    words = f"{tokens:,} of {context:,} tokens"
    if tokens > context:
        words += "; the beginning will be dropped, the end is kept"
    if prompt.endswith(" "):
        words += "; it ends in a space, but GPT-2's words bring their own: better remove it"
    return words


def settings_words(
    count: float,
    temperature: float,
    top_k: float,
    penalty: float,
    seed: float | None,
    stop: str = "",
) -> str:
    """The settings that matter most, for the closed section's title."""
    words = [
        "greedy" if temperature == 0 else f"temperature {temperature:g}",
        f"top-k {top_k:g}" if top_k else "all tokens",
        *([f"penalty {penalty:g}"] if penalty != 1 else []),
        f"{count:g} tokens",
        f"seed {seed or 0:g}",
        *([f"stop at {json.dumps(stop, ensure_ascii=False)}"] if stop else []),
    ]
    return f"Settings: {' · '.join(words)}"


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
        counted(len(trace.steps), "token"),
        f"{trace.tokens_per_second:.0f} tokens/s",
        f"seed {trace.seed}",
        trace.model,
        FINISHED[trace.finish_reason],
    ]
    if trace.truncated:
        words.append(f"the first {trace.truncated:,} tokens of the prompt were dropped")
    return f'<p class="status">{escape(" · ".join(words))}</p>'


def keep(
    trace: Trace, request: Request, *, selected: int, chosen: frozenset[int] = frozenset()
) -> Shown:
    """What the page keeps of a trace."""
    return Shown(
        request,
        trace.ids,
        len(trace.prompt_ids),
        trace.completion,
        status_line(trace),
        selected,
        chosen,
    )


def trace_strip(engine: Engine, trace: Trace, by: str, screen: Viewport, *, selected: int) -> str:
    """The strip while it is written; at the end the selected token is marked."""
    return token_strip(
        engine.catalog.drawn(trace.ids, model=trace.model),
        Numbers(
            np.array([step.prob for step in trace.steps]),
            np.array([step.rank for step in trace.steps]),
            np.array([step.entropy for step in trace.steps]),
        ),
        prompt_length=len(trace.prompt_ids),
        by=by,
        theme=screen.theme,
        selected=selected if trace.finish_reason else None,
    )


def shown_strip(engine: Engine, shown: Shown, by: str, screen: Viewport) -> str:
    """The strip of a text that is there, recomputed, with the selected token marked."""
    score = engine.inspector.score_tokens(shown.ids, model=shown.model)
    drawn = slice(shown.prompt_length - 1, None)
    return token_strip(
        engine.catalog.drawn(shown.ids, model=shown.model),
        Numbers(np.exp(score.logprobs[drawn]), score.ranks[drawn], score.entropies[drawn]),
        prompt_length=shown.prompt_length,
        by=by,
        theme=screen.theme,
        selected=shown.selected,
    )


def token_words(engine: Engine, shown: Shown, step: Step) -> str:
    """The selected token: its place, counted from 0 as in all pictures, and its numbers."""
    inside = ", in the prompt" if shown.selected < shown.prompt_length else ""
    chosen = " · chosen by you" if shown.selected in shown.chosen else ""
    piece = engine.catalog.pieces([step.id], model=shown.model)[0]
    return (
        f'<p class="token"><b>Token {shown.selected}{inside}</b> <code>{escape(piece)}</code> '
        f"{percent(step.prob)} · rank {step.rank:,} · entropy {step.entropy:.1f} nats{chosen}</p>"
    )


def token_drawing(engine: Engine, shown: Shown, step: Step, screen: Viewport) -> Drawing:
    """The ten best at the selected place and, if one was drawn there, each step of the draw."""
    ids = step.top_ids if step.id in step.top_ids else (*step.top_ids, step.id)
    drawn = engine.inspector.waterfall(shown.ids, shown.selected, shown.sampling, model=shown.model)
    pieces, chosen = engine.catalog.drawn(ids, model=shown.model), ids.index(step.id)
    table = partial(vocabulary_columns, drawn, partial(engine.catalog.words, model=shown.model))
    if drawn.token != step.id:  # of the prompt, or chosen by hand: nothing was drawn
        ranks = [*range(1, len(step.top_ids) + 1), step.rank][: len(ids)]
        probs, sampled = (drawn.probs[stage, list(ids)] for stage in (0, -1))
        picture: Picture = TokenBars(pieces, probs, sampled, chosen, ranks, table)
    else:
        on = [stage for stage, active in enumerate(drawn.active) if active]
        ends = np.cumsum(drawn.probs[-1], dtype=np.float64)
        picture = WaterfallBars(
            pieces,
            stages=[_stage_words(drawn.names[stage], shown.sampling) for stage in on],
            probs=drawn.probs[np.ix_(on, ids)],
            left=[drawn.left[stage] for stage in on],
            cut=[drawn.cut[stage] for stage in on],
            chosen=chosen,
            u=None if shown.sampling.temperature == 0 else drawn.u,
            starts=(ends - drawn.probs[-1])[list(ids)],
            table=table,
        )
    return Drawing(picture, screen, f"token-{shown.selected}", widest=760)


def _stage_words(name: str, sampling: Sampling) -> str:
    """A step of the draw and how it was set: "top-k 50"."""
    if name == "softmax":
        return "model"
    return f"{name.replace('_', '-' if name[-2] == '_' else ' ')} {getattr(sampling, name):g}"
