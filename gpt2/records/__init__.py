"""What leaves torch: frozen records of numbers and strings, which can be pickled, drawn and sent.

step has what was written, answers what was read, insight what went on inside the model meanwhile,
pulse how the engine is.
They see numpy alone.
"""

from gpt2.records.answers import Score, Verdict
from gpt2.records.insight import (
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
from gpt2.records.pulse import BOUNDS, Pulse, Times
from gpt2.records.step import FINISH_REASONS, Step, Trace, Update

__all__ = [
    "BOUNDS",
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
    "Pulse",
    "Score",
    "Step",
    "Times",
    "Trace",
    "Update",
    "Verdict",
    "Waterfall",
]
