"""What crosses the border from the model to the page: frozen records of numbers and strings.

No torch here, so a record can be pickled, drawn or sent anywhere. text.py has what is written and
read, inside.py what went on inside the model meanwhile. Imports: numpy.
"""

from gpt2.trace.inside import (
    GRADIENT,
    HEAD_LABELS,
    INTEGRATED,
    METHODS,
    OCCLUSION,
    RANDOM_ORDER,
    Ablation,
    AblationMap,
    Attribution,
    Faithfulness,
    HeadScores,
    LogitLens,
    Pooled,
    Waterfall,
)
from gpt2.trace.text import FINISH_REASONS, Score, Step, Trace, Verdict

__all__ = [
    "FINISH_REASONS",
    "GRADIENT",
    "HEAD_LABELS",
    "INTEGRATED",
    "METHODS",
    "OCCLUSION",
    "RANDOM_ORDER",
    "Ablation",
    "AblationMap",
    "Attribution",
    "Faithfulness",
    "HeadScores",
    "LogitLens",
    "Pooled",
    "Score",
    "Step",
    "Trace",
    "Verdict",
    "Waterfall",
]
