"""The page's figures: arrays and strings in, a `matplotlib.figure.Figure` and its alt text out.

Every `x_figure(...)` draws for a width in CSS pixels and a theme, on a transparent ground and at
twice the pixel density; `x_alt(...)` takes the same data and says in a sentence or two what the
figure shows. No pyplot, so threads may draw at once. Imports: numpy, matplotlib.
"""

from matplotlib.figure import Figure

from gpt2.figures.ablation import ablation_alt, ablation_at, ablation_figure
from gpt2.figures.attention import (
    MAX_TOKENS,
    attention_head_alt,
    attention_head_figure,
    attention_map_alt,
    attention_map_figure,
    strongest_pairs,
)
from gpt2.figures.attribution import (
    MAX_BARS,
    attribution_alt,
    attribution_figure,
    strongest_tokens,
)
from gpt2.figures.bars import class_alt, class_figure, probability_alt, probability_figure
from gpt2.figures.base.colors import CLASS_COLORS, class_color, color_legend, token_colors
from gpt2.figures.base.export import to_csv, to_svg
from gpt2.figures.base.style import DARK, LIGHT, Theme, render, to_png
from gpt2.figures.base.text import counted, percent, shorten
from gpt2.figures.before_after import before_after_alt, before_after_figure
from gpt2.figures.faithfulness import faithfulness_alt, faithfulness_figure
from gpt2.figures.layers import attention_layer_alt, attention_layer_figure, head_at
from gpt2.figures.lens import lens_alt, lens_columns, lens_figure
from gpt2.figures.overview import overview_alt, overview_at, overview_figure
from gpt2.figures.rank import rank_alt, rank_figure
from gpt2.figures.score import score_alt, score_figure
from gpt2.figures.similarity import MAX_POSITIONS, similarity_alt, similarity_figure
from gpt2.figures.tiles import MAX_CELLS, tile_at, tiles_alt, tiles_figure
from gpt2.figures.topic import decided_at, topic_alt, topic_figure
from gpt2.figures.training import (
    confusion_alt,
    confusion_figure,
    training_alt,
    training_figure,
)
from gpt2.figures.waterfall import waterfall_alt, waterfall_figure

__all__ = [
    "CLASS_COLORS",
    "DARK",
    "LIGHT",
    "MAX_BARS",
    "MAX_CELLS",
    "MAX_POSITIONS",
    "MAX_TOKENS",
    "Figure",
    "Theme",
    "ablation_alt",
    "ablation_at",
    "ablation_figure",
    "attention_head_alt",
    "attention_head_figure",
    "attention_layer_alt",
    "attention_layer_figure",
    "attention_map_alt",
    "attention_map_figure",
    "attribution_alt",
    "attribution_figure",
    "before_after_alt",
    "before_after_figure",
    "class_alt",
    "class_color",
    "class_figure",
    "color_legend",
    "confusion_alt",
    "confusion_figure",
    "counted",
    "decided_at",
    "faithfulness_alt",
    "faithfulness_figure",
    "head_at",
    "lens_alt",
    "lens_columns",
    "lens_figure",
    "overview_alt",
    "overview_at",
    "overview_figure",
    "percent",
    "probability_alt",
    "probability_figure",
    "rank_alt",
    "rank_figure",
    "render",
    "score_alt",
    "score_figure",
    "shorten",
    "similarity_alt",
    "similarity_figure",
    "strongest_pairs",
    "strongest_tokens",
    "tile_at",
    "tiles_alt",
    "tiles_figure",
    "to_csv",
    "to_png",
    "to_svg",
    "token_colors",
    "topic_alt",
    "topic_figure",
    "waterfall_alt",
    "waterfall_figure",
    "training_alt",
    "training_figure",
]
