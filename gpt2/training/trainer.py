"""The one training loop, for pretraining and fine-tuning, on one process or under torchrun.

What a step trains on and its dropout are functions of the step's number alone, so a run that was
stopped goes on exactly where it was from weights, optimizer state and that number; only the process
counts.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt2.checks import check_number
from gpt2.training.processes import rank, sum_over_processes
from gpt2.training.progress import Point
from gpt2.training.state import State


@dataclass(frozen=True)
class TrainSettings:
    """How to optimize.

    Args:
        steps: optimizer steps in all.
        lr: peak learning rate.
        warmup: steps of linear rise to it; after them a cosine falls to 0.
        weight_decay: AdamW's decoupled decay, on matrices only (Loshchilov & Hutter 2019).
        beta2: AdamW's second moment decay.
        clip: gradient norm above which gradients are scaled down (Pascanu et al. 2013).
        average: decay of a running average of the weights (Polyak & Juditsky 1992), 0 for none.
        accumulate: batches whose gradients are added up for one step.
        seed: of dropout.
    """

    steps: int
    lr: float
    warmup: int = 0
    weight_decay: float = 0.1
    beta2: float = 0.95
    clip: float = 1.0
    average: float = 0.0
    accumulate: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate"):
            check_number(name, getattr(self, name), 1, whole=True)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}; it must be above 0")
        if not 0 <= self.average < 1:
            raise ValueError(f"average is {self.average}; it must be at least 0 and below 1")

    def lr_at(self, step: int) -> float:
        """Learning rate of step 0 to steps - 1."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))


class Trainer:
    """A model, its optimizer, how many steps they have done, and the points of their curve."""

    def __init__(
        self,
        model: nn.Module,
        settings: TrainSettings,
        *,
        state: State | None = None,
        stage: str = "training",
    ) -> None:
        """Start, or go on from what the state holds under the stage's name; save to it too."""
        self.model, self.settings = model, settings
        self.state, self.stage = state, stage
        self.step = 0
        self.points: list[Point] = []
        self.trained = [p for p in model.parameters() if p.requires_grad]
        decay = [p for p in self.trained if p.dim() >= 2]
        rest = [p for p in self.trained if p.dim() < 2]
        groups = [
            {"params": decay, "weight_decay": settings.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        fused = self.trained[0].device.type in ("cpu", "cuda")  # torch 2.4 has no other
        self.optimizer = torch.optim.AdamW(
            groups, lr=settings.lr, betas=(0.9, settings.beta2), fused=fused
        )
        self._average = [p.detach().clone() for p in self.trained] if settings.average else []
        if state is not None and state.holds(stage):
            self._resume(state.read(stage))

    def run(
        self,
        loss_of: Callable[[int], Tensor],
        complete: Callable[[Point], Point] = lambda point: point,
        *,
        report_every: int = 1,
        until: int | None = None,
    ) -> Iterator[Point]:
        """Train, yielding every report_every steps and at the end.

        A state is saved before a point is yielded, if it is due or the end.

        Args:
            loss_of: this process's part of the loss of batch number i; the parts of all processes
                add up to the loss. Step s trains on batches s * accumulate and on.
            complete: fills in what only the task knows of a point.
            until: stop after this many steps in all; settings.steps if None.

        Raises:
            FloatingPointError: the loss is no longer a number.
            LostProcess: another process of the run has ended.
        """
        until = self.settings.steps if until is None else min(until, self.settings.steps)
        self.model.train()
        counted, before = 0, self.step
        worked, start = 0.0, time.perf_counter()
        running = torch.zeros((), device=self.trained[0].device)
        while self.step < until:
            loss, norm = self._take_step(loss_of)
            running += loss
            counted += 1
            if self.step % report_every == 0 or self.step == until:
                sum_over_processes([running])
                mean = float(running) / counted
                if not math.isfinite(mean):
                    raise FloatingPointError(
                        f"the loss is {mean} at step {self.step}; a lower --lr may help"
                    )
                worked += time.perf_counter() - start
                lr, rate = self.settings.lr_at(self.step - 1), (self.step - before) / worked
                point = complete(Point(self.step, mean, lr, float(norm), rate, stage=self.stage))
                self.points.append(point)
                if self.state is not None and (self.step == until or self.state.due()):
                    self._save(self.state)
                yield point
                start = time.perf_counter()
                self.model.train()
                running.zero_()
                counted = 0

    def _take_step(self, loss_of: Callable[[int], Tensor]) -> tuple[Tensor, Tensor]:
        """One optimizer step; this process's part of its loss, and the gradients' norm."""
        settings = self.settings
        seed = np.random.SeedSequence((settings.seed, self.step, rank()))
        torch.manual_seed(int(seed.generate_state(1)[0]))  # other dropout in every process
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr_at(self.step)
        first = self.step * settings.accumulate
        total = torch.zeros((), device=self.trained[0].device)
        for batch in range(first, first + settings.accumulate):
            loss = loss_of(batch) / settings.accumulate
            loss.backward()
            total += loss.detach()
        for parameter in self.trained:
            if parameter.grad is None:  # this process had no share of a short batch
                parameter.grad = torch.zeros_like(parameter)
        sum_over_processes([p.grad for p in self.trained if p.grad is not None])
        norm = nn.utils.clip_grad_norm_(self.trained, settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        self.step += 1
        return total, norm

    def _update_average(self) -> None:
        if self._average:
            # Rising decay, so that the first steps are soon forgotten.
            decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self._average, [p.detach() for p in self.trained], 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The model in evaluation mode with its averaged weights, if it averages; then back."""
        kept = [p.detach().clone() for p in self.trained] if self._average else []
        with torch.no_grad():
            for parameter, average in zip(self.trained, self._average, strict=False):
                parameter.copy_(average)
        self.model.eval()
        try:
            yield self.model
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.trained, kept, strict=False):
                    parameter.copy_(value)

    def _save(self, state: State) -> None:
        content = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self._average,
            "points": [asdict(point) for point in self.points],
        }
        state.write(self.stage, content)

    def _resume(self, found: dict[str, Any]) -> None:
        self.model.load_state_dict(found["model"])
        self.optimizer.load_state_dict(found["optimizer"])
        self._average = found["average"]
        self.step = found["step"]
        self.points = [Point(**point) for point in found["points"]]
