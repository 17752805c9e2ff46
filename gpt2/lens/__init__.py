"""What explains: numbers read off a forward pass, for text that is already there.

Each function replays the text through the same blocks; causality makes row t of a replay what the
model computed when it stood at token t. Imports: torch.
"""

from gpt2.lens.ablation import ablation_map
from gpt2.lens.attribution import (
    attribute,
    gradient_x_input,
    integrated_gradients,
    occlusion,
)
from gpt2.lens.faithfulness import SEEDS, faithfulness
from gpt2.lens.heads import head_scores, model_heads
from gpt2.lens.logit_lens import logit_lens, logits_after
from gpt2.lens.observe import (
    Observation,
    attention,
    attention_maps,
    attention_window,
    observe,
    overview,
    rollout,
    tiles,
)
from gpt2.lens.question import Question
from gpt2.lens.scaling import ScaledModel, Scales
from gpt2.lens.waterfall import waterfall
from gpt2.records import METHODS

__all__ = [
    "METHODS",
    "SEEDS",
    "Observation",
    "Question",
    "ScaledModel",
    "Scales",
    "ablation_map",
    "attention",
    "attribute",
    "attention_maps",
    "attention_window",
    "faithfulness",
    "gradient_x_input",
    "head_scores",
    "integrated_gradients",
    "logit_lens",
    "logits_after",
    "model_heads",
    "observe",
    "occlusion",
    "overview",
    "rollout",
    "tiles",
    "waterfall",
]
