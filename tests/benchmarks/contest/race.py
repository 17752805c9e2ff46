"""Contenders side by side: each task in turn, round after round, and the times kept."""

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from contest.contender import OURS, Entry, Program, Unsupported
from contest.worker import Failed, Worker


@dataclass(frozen=True)
class Task:
    """What each contender is asked to do, and how it is told.

    Args:
        name: of the line.
        method: of a Contender or Classifier.
        args: of the method.
        tokens: that it makes, to be told by the second; 0 to tell milliseconds.
        warm_up: the method's arguments once before, untimed.
    """

    name: str
    method: str
    args: tuple[Any, ...]
    tokens: int
    warm_up: tuple[Any, ...]


@dataclass
class Line:
    """The times of one task with one model in some numbers.

    Args:
        task, model, numbers: what was done.
        seconds: of each round, by contender.
        limit: tokens a second at which memory gives the weights; None where that is no limit.
    """

    task: Task
    model: str
    numbers: str
    seconds: dict[str, list[float]]
    limit: float | None = None

    @property
    def medians(self) -> dict[str, float]:
        return {name: statistics.median(times) for name, times in self.seconds.items()}

    @property
    def ratio(self) -> float | None:
        """How many times sooner we are done than the best peer; None where there is none."""
        medians = self.medians
        ours = medians.pop(OURS, None)
        return min(medians.values()) / ours if ours and medians else None


@dataclass
class Agreement:
    """How near each contender comes to the reference: the plain model in float32.

    Args:
        error: of the logits after a text, root mean square, as a share of their deviation.
        equal: how many of the first greedy tokens, or of the classes, are the same, of `wanted`.
    """

    model: str
    numbers: str
    wanted: int
    error: dict[str, float] = field(default_factory=dict)
    equal: dict[str, int] = field(default_factory=dict)


@contextmanager
def started(programs: Sequence[Program], entry: Entry) -> Iterator[list[Worker]]:
    """Those of the programs that can run a model in these numbers, until the block ends."""
    workers: list[Worker] = []
    try:
        for program in programs:
            try:
                workers.append(Worker(program, entry))
            except Unsupported as reason:
                say(f"{program.name}: {reason}")
            except Failed as error:
                if program.name == OURS:
                    raise
                say(str(error))
        yield workers
    finally:
        for worker in workers:
            worker.close()


def run(
    workers: Sequence[Worker], task: Task, rounds: int, *, model: str, numbers: str
) -> tuple[Line, dict[str, Any]]:
    """The contenders one after the other, each round beginning with another one.

    Returns:
        The times, and what each returned last.
    """
    line = Line(task, model, numbers, {worker.program.name: [] for worker in workers})
    results: dict[str, Any] = {}
    for worker in workers:
        worker.call(task.method, *task.warm_up)
    for number in range(rounds):
        first = number % len(workers)
        for worker in (*workers[first:], *workers[:first]):
            seconds, result = worker.call(task.method, *task.args)
            line.seconds[worker.program.name].append(seconds)
            results[worker.program.name] = result
    say(f"{task.name}, {model} {numbers}: {told(line)}")
    return line, results


def agree(
    workers: Sequence[Worker],
    text: Sequence[int],
    reference: Mapping[str, Any],
    *,
    model: str,
    numbers: str,
) -> Agreement:
    """Compare each contender's logits and greedy tokens after a text with the reference's."""
    wanted, logits = reference["greedy"], reference["logits"]
    found = Agreement(model, numbers, len(wanted))
    for worker in workers:
        name = worker.program.name
        _, own = worker.call("logits", text)
        _, (written,) = worker.call("write", [text], len(wanted), greedy=True)
        found.error[name] = float(np.sqrt(np.mean((own - logits) ** 2)) / logits.std())
        pairs = enumerate(zip(written, wanted, strict=True))
        found.equal[name] = next((at for at, (a, b) in pairs if a != b), len(wanted))
    return found


def told(line: Line) -> str:
    return ", ".join(f"{name} {value(line, name)}" for name in line.seconds)


def value(line: Line, name: str) -> str:
    """A contender's median, in the line's unit."""
    seconds = line.medians[name]
    if not line.task.tokens:
        return f"{1000 * seconds:,.0f} ms"
    rate = line.task.tokens / seconds
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
