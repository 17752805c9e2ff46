"""The pictures of the page: what is shown goes in; a figure, its alt text and its numbers come out.

Each is a frozen record of arrays and strings, checked when it is made: `figure(theme, width)` draws
it for a width in CSS pixels, on a transparent ground and at twice the pixel density; `alt()` says
in a sentence or two what it shows; `columns()` are its numbers for a CSV file; `cells(width)` are
those of its parts that a visitor can point at. `to_inline_svg` writes a figure drawn with the theme
PAGE for the page itself, whose style sheet says the colours (`theme_css`). No pyplot, so threads
may draw at once.
"""

from gpt2.figures.ablation import AblationGrid
from gpt2.figures.attention import AttentionMap, HeadMap, head_name
from gpt2.figures.attribution import AttributionBars
from gpt2.figures.bars import TokenBars
from gpt2.figures.base.cells import Cells
from gpt2.figures.base.colors import (
    LEVELS,
    class_color,
    level_colors,
    level_legend,
    token_level,
)
from gpt2.figures.base.export import to_csv, to_svg
from gpt2.figures.base.inline import theme_css, to_inline_svg
from gpt2.figures.base.picture import Picture
from gpt2.figures.base.style import DARK, LIGHT, PAGE, Theme, render, to_png
from gpt2.figures.base.text import counted, percent
from gpt2.figures.before_after import BeforeAfter
from gpt2.figures.classes import ClassBars
from gpt2.figures.confusion import ConfusionTable
from gpt2.figures.faithfulness import FaithfulnessCurves
from gpt2.figures.lens import LensGrid, lens_columns
from gpt2.figures.overview import OverviewMap
from gpt2.figures.rank import RankPath
from gpt2.figures.score import ScoreBands
from gpt2.figures.tiles import HeadTiles
from gpt2.figures.topic import TopicLines
from gpt2.figures.training import TrainingCurves
from gpt2.figures.waterfall import WaterfallBars, vocabulary_columns

__all__ = [
    "DARK",
    "LEVELS",
    "LIGHT",
    "PAGE",
    "AblationGrid",
    "AttentionMap",
    "AttributionBars",
    "BeforeAfter",
    "Cells",
    "ClassBars",
    "ConfusionTable",
    "FaithfulnessCurves",
    "HeadMap",
    "HeadTiles",
    "LensGrid",
    "OverviewMap",
    "Picture",
    "RankPath",
    "ScoreBands",
    "Theme",
    "TokenBars",
    "TopicLines",
    "TrainingCurves",
    "WaterfallBars",
    "class_color",
    "counted",
    "head_name",
    "lens_columns",
    "level_colors",
    "level_legend",
    "percent",
    "render",
    "theme_css",
    "to_csv",
    "to_inline_svg",
    "to_png",
    "to_svg",
    "token_level",
    "vocabulary_columns",
]
