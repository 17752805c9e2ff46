"""The one training loop, for pretraining and fine-tuning, on one process or under torchrun.

What a step trains on is a function of the step's number alone, so a run that was stopped goes on
exactly where it was from weights, optimizer state, random state and that number. Imports: torch.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, distributed, nn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainSettings:
    """How to optimize.

    Args:
        steps: optimizer steps in all.
        lr: peak learning rate.
        warmup: steps of linear rise to it; after them a cosine falls to final_lr * lr.
        final_lr: last learning rate as a share of the peak.
        weight_decay: AdamW's decoupled decay, on matrices only (Loshchilov & Hutter 2019).
        beta2: AdamW's second moment decay.
        clip: gradient norm above which gradients are scaled down (Pascanu et al. 2013).
        average: decay of a running average of the weights (Polyak & Juditsky 1992), 0 for none.
        accumulate: batches whose gradients are added up for one step.
    """

    steps: int
    lr: float
    warmup: int = 0
    final_lr: float = 0.0
    weight_decay: float = 0.1
    beta2: float = 0.95
    clip: float = 1.0
    average: float = 0.0
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}; it must be above 0")
        if not 0 <= self.average < 1:
            raise ValueError(f"average is {self.average}; it must be at least 0 and below 1")

    def lr_at(self, step: int) -> float:
        """Learning rate of step 0 to steps - 1."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        floor = self.final_lr * self.lr
        return floor + (self.lr - floor) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Report:
    """Where a run stands: steps done, mean loss since the last report, and rates."""

    step: int
    loss: float
    lr: float
    gradient_norm: float
    seconds: float


class Trainer:
    """A model, its optimizer and how many steps they have done."""

    def __init__(self, model: nn.Module, settings: TrainSettings) -> None:
        self.model = model
        self.settings = settings
        self.step = 0
        self.trained = [p for p in model.parameters() if p.requires_grad]
        decay = [p for p in self.trained if p.dim() >= 2]
        rest = [p for p in self.trained if p.dim() < 2]
        groups = [
            {"params": decay, "weight_decay": settings.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=settings.lr, betas=(0.9, settings.beta2), fused=self.trained[0].is_cuda
        )
        self._average = [p.detach().clone() for p in self.trained] if settings.average else []

    def run(
        self, loss_of: Callable[[int], Tensor], *, report_every: int = 1, until: int | None = None
    ) -> Iterator[Report]:
        """Train, yielding every report_every steps and at the end.

        Args:
            loss_of: the loss of batch number i; step s trains on batches s * accumulate and on.
            until: stop after this many steps in all; settings.steps if None.

        Raises:
            FloatingPointError: the loss is no longer a number.
        """
        settings = self.settings
        until = settings.steps if until is None else min(until, settings.steps)
        self.model.train()
        total, counted, start = 0.0, 0, time.perf_counter()
        running = torch.zeros((), device=self.trained[0].device)
        while self.step < until:
            lr = settings.lr_at(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            first = self.step * settings.accumulate
            for batch in range(first, first + settings.accumulate):
                loss = loss_of(batch) / settings.accumulate
                loss.backward()
                running += loss.detach()
            _average_over_processes([p.grad for p in self.trained if p.grad is not None])
            norm = nn.utils.clip_grad_norm_(self.trained, settings.clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self._update_average()
            self.step += 1
            counted += 1
            if self.step % report_every == 0 or self.step == until:
                total = float(running) / counted
                if not math.isfinite(total):
                    raise FloatingPointError(
                        f"the loss is {total} at step {self.step}; a lower --lr may help"
                    )
                elapsed = time.perf_counter() - start
                yield Report(self.step, total, lr, float(norm), elapsed)
                self.model.train()
                running.zero_()
                counted = 0

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

    def save(self, path: Path) -> None:
        """Write all that resuming needs, atomically; only the first process writes."""
        if rank() != 0:
            return
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self._average,
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on from what save wrote.

        Raises:
            ValueError: the file is damaged or of a model of another shape.
        """
        device = self.trained[0].device
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
            raise ValueError(
                f"{path} can't be resumed from: it is damaged or of another model; delete it to "
                "start anew"
            ) from error
        self._average = state["average"]
        self.step = state["step"]
        torch.set_rng_state(state["random"].cpu())
        for i, random in enumerate(state["cuda_random"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(random.cpu(), i)


# --- several processes -----------------------------------------------------------------------


def rank() -> int:
    """This process's number, 0 when alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Number of processes, 1 when alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes torchrun started; alone, do nothing."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _average_over_processes(gradients: list[Tensor]) -> None:
    if world_size() == 1:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= world_size()
    for gradient, part in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))


def pick_device(name: str) -> torch.device:
    """The device a --device flag names; "auto" takes a GPU if there is one.

    Raises:
        ValueError: the named device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name, False):
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise ValueError(f"device {name} is not available here; available: {there}")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def low_precision(device: torch.device) -> torch.autocast:
    """bfloat16 matrix products on a GPU, float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
