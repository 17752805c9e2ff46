"""What explains: numbers read off a forward pass, for text that is already there.

A Reading is a model and what it saw of a text. Each function replays the text through the same
blocks; causality makes row t of a replay what the model computed when it stood at token t.
"""

from gpt2.lens.ablation import ablation_maps
from gpt2.lens.attribution import attribute
from gpt2.lens.draw import how_drawn
from gpt2.lens.faithfulness import SEEDS, faithfulness
from gpt2.lens.heads import head_scores, model_heads
from gpt2.lens.logit_lens import logit_lens
from gpt2.lens.reading import Reading, tokens_read
from gpt2.lens.scaling import Scales, scaled_model
from gpt2.lens.target import Target

__all__ = [
    "SEEDS",
    "Reading",
    "Scales",
    "Target",
    "ablation_maps",
    "attribute",
    "faithfulness",
    "head_scores",
    "how_drawn",
    "logit_lens",
    "model_heads",
    "scaled_model",
    "tokens_read",
]
