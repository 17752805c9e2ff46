"""What is measured: the sizes of a whole run and of a quick one, and the tasks of a contender."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from contest import models
from contest.contender import OURS, Entry, Program
from contest.race import Task

PROMPT = "The president said on Tuesday that"
PARTS = ("decode", "prefill", "batch", "classify", "page")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        parts: of PARTS.
        peers: names of those that take part beside this project; None for all.
        models: names, directories or models.RANDOM.
        numbers: of the weights.
        device: cpu or cuda.
        threads: of the CPU.
        rounds: of which the medians are told.
        decode: new tokens of a text, for each line.
        prefill: tokens of a prompt.
        batch: texts written side by side, for each line.
        batch_tokens: new tokens of each of them.
        rows: news to classify.
        clients: of the page at the same time, for each line.
        client_texts, client_tokens: texts of each client, and tokens of each text.
        long_tokens: of a text that eight clients write, and beside which views are opened; 0 for
            no such lines.
        data: AG News rows to classify; None for those of contest/news.py.
        work: a directory for what is converted.
    """

    parts: tuple[str, ...]
    peers: tuple[str, ...] | None
    models: tuple[str, ...]
    numbers: tuple[str, ...]
    device: str
    threads: int
    work: Path
    data: Path | None = None
    rounds: int = 5
    decode: tuple[int, ...] = (64, 512)
    prefill: int = 1023
    batch: tuple[int, ...] = (8,)
    batch_tokens: int = 64
    rows: int = 256
    clients: tuple[int, ...] = (1, 4, 8, 16)
    client_texts: int = 3
    client_tokens: int = 64
    long_tokens: int = 512

    def quick(self) -> "Plan":
        """The same in small."""
        return replace(
            self,
            models=self.models[:1],
            rounds=2,
            decode=(32,),
            prefill=255,
            batch=(4,),
            batch_tokens=16,
            rows=32,
            clients=(1, 4),
            client_texts=1,
            client_tokens=24,
            long_tokens=0,
        )

    def those(self, programs: Sequence[Program]) -> list[Program]:
        """Who of the programs takes part."""
        return [
            one
            for one in programs
            if one.installed
            and self.device in one.devices
            and (self.peers is None or one.name in (OURS, *self.peers))
        ]

    def entry(self, model: str, numbers: str = "float32") -> Entry:
        directory = models.directory_of(model, self.work)
        return Entry(directory, numbers, self.device, self.threads, self.work)


def tasks(plan: Plan, prompt: list[int], *, n_ctx: int) -> Iterator[Task]:
    """What is written and read with a model of this context."""
    whole = plan.device == "cuda"  # there each length may be compiled or captured by itself
    if "decode" in plan.parts:
        for count in plan.decode:
            args = [prompt], count
            name = f"decode, {count} tokens"
            yield Task(name, "write", args, count, args if whole else ([prompt], 8))
    if "prefill" in plan.parts:
        count = min(plan.prefill, n_ctx - 1)
        text = (prompt * count)[:count]
        yield Task(f"read a prompt of {count:,}", "read", (text,), 0, (text,))
    if "batch" in plan.parts:
        for rows in plan.batch:
            texts, count = [prompt] * rows, plan.batch_tokens
            args = texts, count
            name = f"{rows} texts of {count} tokens"
            yield Task(name, "write", args, rows * count, args if whole else (texts, 2))
