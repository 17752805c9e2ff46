"""How a training goes: the points that its loop yields."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tqdm import tqdm


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


def shown(points: Iterable[Point], *, total: int, unit: str, quiet: bool) -> Iterator[Point]:
    """Pass the points of a training on, each shown in one progress bar as it comes.

    Args:
        points: they read `total` units in all.
    """
    recent: deque[float] = deque(maxlen=20)
    with tqdm(total=total, unit=unit, unit_scale=True, disable=quiet, mininterval=2) as bar:
        for point in points:
            bar.set_description(point.stage, refresh=False)
            told = {"loss": f"{point.loss:.4f}"}
            if point.accuracy is not None:
                recent.append(point.accuracy)
                told["accuracy"] = f"{sum(recent) / len(recent):.1%}"
            bar.set_postfix(told, refresh=False)
            bar.update(point.read - bar.n)
            yield point
