"""What is asked of an engine, for those who answer in its place."""

from dataclasses import fields, is_dataclass

import numpy as np

from gpt2.engine import Request, Scales
from gpt2.records import METHODS
from gpt2.sampling import Sampling

IDS = (15496, 995, 11, 262, 262, 995, 318, 15496)
LIVELY = Sampling(temperature=1.5, top_k=0, seed=7)
HALVED = Scales(((1.0, 0.5),) * 2, (1.0, 0.0), (1.0, 1.0))


def same(first, second):
    """Whether two records, arrays or lists of them say the same, NaN for NaN."""
    if is_dataclass(first):
        names = [field.name for field in fields(first) if field.name != "seconds"]
        return type(first) is type(second) and all(
            same(getattr(first, name), getattr(second, name)) for name in names
        )
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict | str | tuple):
        return first == second
    return np.array_equal(np.asarray(first), np.asarray(second), equal_nan=True)


VIEWS = {
    "attention": lambda see: see.attention(IDS, 1, model="tiny", weighted=True),
    "attention_window": lambda see: see.attention_window(
        IDS, 1, rows=(2, 6), columns=(0, 4), model="tiny"
    ),
    "overview": lambda see: see.overview(IDS, 1, 3, model="tiny"),
    "tiles": lambda see: see.tiles(IDS, 3, model="tiny"),
    "rollout": lambda see: see.rollout(IDS, model="tiny"),
    "logit_lens": lambda see: see.logit_lens(IDS, [3, 5], model="tiny"),
    "heads": lambda see: see.heads(IDS, model="tiny"),
    "model_heads": lambda see: see.model_heads(model="tiny"),
    "step": lambda see: see.step(IDS, 4, LIVELY, model="tiny"),
    "waterfall": lambda see: see.waterfall(IDS, 4, LIVELY, model="tiny"),
    "score_tokens": lambda see: see.score_tokens(IDS, model="tiny"),
    "score": lambda see: see.score("It rains in Spain."),
    "classify": lambda see: see.classify("It rains goals in Spain."),
    "ablation_maps": lambda see: list(see.ablation_maps(IDS, 5, model="tiny")),
    "ablate": lambda see: see.ablate(IDS, 5, HALVED, model="tiny"),
    "faithfulness": lambda see: see.faithfulness(IDS, 5, 11, model="tiny", quick=True),
    "tokens_read": lambda see: see.tokens_read(IDS, model="tiny"),
} | {
    method: lambda see, method=method: list(
        see.attributions(IDS, 5, 11, method=method, model="tiny", instead_of=7)
    )
    for method in METHODS
}

WRONG = {
    "no such layer": lambda one: one.inspector.attention(IDS, 9, model="tiny"),
    "nothing to read": lambda one: one.inspector.classify(""),
    "no such place": lambda one: list(
        one.inspector.attributions(IDS, 99, 1, method=METHODS[0], model="tiny")
    ),
    "no such model": lambda one: one.library.get("nobody"),
    "too many tokens": lambda one: one.writer.begin(Request("x", 9999)),
}


def texts(one):
    """Texts of several kinds, whole."""
    found = []
    request = Request("Hello world", 20, LIVELY)
    for wanted in (
        request,
        Request("Hello world", 30, LIVELY, stop="e"),
        Request("", 200, Sampling(temperature=0)),
    ):
        for scales in (None, HALVED):
            *_, trace = one.generate(wanted, scales=scales)
            found.append(trace)
    *_, branch = one.branch(request, found[0].ids, len(found[0].prompt_ids) + 5, 11)
    return [*found, branch]
