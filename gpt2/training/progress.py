"""How a training goes: the points that its loop yields."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """Where a training stands, every few steps. The trainer fills in the first fields.

    Args:
        step: optimizer steps done in the stage.
        loss: mean since the point before, in nats.
        lr: learning rate of the last step.
        gradient_norm: of the last step, before clipping.
        steps_per_second: since the loop began, but for what its caller did meanwhile.
        stage: the part of the training, by name.
        read: texts or tokens read in all stages so far.
        accuracy: share of training rows named right since the point before, with dropout on.
        held_out: measurements on held-out rows or tokens by name, where they were made.
        sample: a text that the model wrote there.
    """

    step: int
    loss: float
    lr: float = 0.0
    gradient_norm: float = 0.0
    steps_per_second: float = 0.0
    stage: str = ""
    read: int = 0
    accuracy: float | None = None
    held_out: dict[str, float] | None = None
    sample: str | None = None
