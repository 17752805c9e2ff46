"""What was measured as one table in Markdown, and in words the machine it was measured on."""

import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from contest.contender import OURS
from contest.crowd import PageTimes
from contest.race import Agreement, Line, value

PACKAGES = ("torch", "transformers", "ctranslate2", "llama-cpp-python", "vllm", "gradio")
# Logits further from float32's than this share of their deviation are another computation.
SAME = {"float32": 0.005, "bfloat16": 0.03, "int8": 0.1}

BUSY = 0.4  # load average for each thread, above which a machine is not idle


@dataclass
class Report:
    """All that one run has found."""

    device: str
    threads: int
    rounds: int
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    bandwidth: list[float] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    page: PageTimes | None = None

    def markdown(self) -> str:
        """The machine, the table, and how it is to be read."""
        names = self._names()
        head = ["what", "model", "numbers", *names, "limit", "ours / best peer"]
        rows = [head, ["---"] * 3 + ["---:"] * (len(head) - 3)]
        rows += [self._line(line, names) for line in self.lines]
        rows += [_agreement(found, names) for found in self.agreements]
        parts = [machine(self.device, self.threads)]
        if self.lines:
            parts.append(_markdown(rows))
        if self.page:
            parts.append(_page(self.page))
        return "\n\n".join([*parts, self._notes()]) + "\n"

    def _names(self) -> list[str]:
        """Who took part, in the order in which they were started."""
        found = [name for line in self.lines for name in line.seconds]
        return list(dict.fromkeys([OURS, *found]))

    def _line(self, line: Line, names: Sequence[str]) -> list[str]:
        unit = " (tokens/s)" if line.task.tokens else ""
        limit = "" if line.limit is None else f"{line.limit:,.0f}"
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        values = [value(line, name) if name in line.seconds else "" for name in names]
        return [line.task.name + unit, line.model, line.numbers, *values, limit, ratio]

    def _notes(self) -> str:
        notes = [
            f"Medians of {self.rounds} rounds, in which the programs took turns; load average "
            f"before {self.load:.1f}."
        ]
        if self.load > BUSY * self.threads:
            notes.append(
                "OTHER PROGRAMS RAN: each slows a peer that waits for all its threads by more than "
                "its share, so these ratios say little; measure again on an idle machine."
            )
        if self.bandwidth:
            speed = statistics.median(self.bandwidth) / 1e9
            notes.append(
                f"Memory read at {speed:.1f} GB/s; the limit is how often a second the model's "
                "weights (4, 2 or 1 bytes each) can be read, without keys and values; of a model "
                "that a cache holds in part it is none."
            )
        if self.agreements:
            notes.append(
                "ours: with all statistics of every token, drawn at the default settings; the "
                "peers draw likewise (temperature 0.8, top-k 50) and keep the token alone. Same "
                "computation: by how much the logits after a text differ from our plain model's "
                "in float32 (root mean square, in percent of their deviation), and how many of "
                "the first greedy tokens are the same; of news, how many classes are."
            )
        return " ".join(notes)


def _agreement(found: Agreement, names: Sequence[str]) -> list[str]:
    cells = []
    for name in names:
        if name not in found.equal:
            cells.append("")
            continue
        equal, error = f"{found.equal[name]}/{found.wanted}", found.error.get(name)
        if error is not None:
            same = "" if error <= SAME[found.numbers] else "NOT: "
            equal = f"{same}{_percent(error)}, {equal}"
        cells.append(equal)
    return ["same computation?", found.model, found.numbers, *cells, "", ""]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-6 else "0 %"


def _page(page: PageTimes) -> str:
    """The page's own table, and what is beside it."""
    alone = statistics.median(page.alone)
    head = ["clients of the page", "tokens of a text", "tokens/s together", "of the model alone"]
    head += ["first token p50", "p95", "end p50", "p95", "slowest / median client"]
    rows = [head, ["---:"] * len(head)]
    for (clients, tokens), crowds in page.crowds.items():
        rate = statistics.median(crowd.rate for crowd in crowds)
        texts = [text for crowd in crowds for one in crowd.texts for text in one]
        first, last = [text.first for text in texts], [text.last for text in texts]
        times = [_ms(each, place) for each in (first, last) for place in (50, 95)]
        slowest = statistics.median(crowd.slowest for crowd in crowds)
        row = [f"{clients}", f"{tokens}", f"{rate:,.0f}", f"{rate / alone:.2f}", *times]
        rows.append([*row, f"{slowest:.2f}"])
    told = f"The model alone, without a page: {alone:,.0f} tokens/s ({page.tokens} tokens)."
    if page.views:
        told += (
            f" A view while {page.writers} texts are written: p50 {_ms(page.views, 50)}, "
            f"p95 {_ms(page.views, 95)}."
        )
    return f"{_markdown(rows)}\n\n{told}"


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _ms(seconds: Sequence[float], percentile: int) -> str:
    ordered = sorted(seconds)
    place = min(len(ordered) - 1, round(percentile / 100 * (len(ordered) - 1)))
    return f"{1000 * ordered[place]:,.0f} ms"


def machine(device: str, threads: int) -> str:
    """The processor, memory and GPU, and the versions of what was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{processor()}, {threads} of {os.cpu_count()} cores", f"{memory:.0f} GB of memory"]
    if device == "cuda":
        parts.append(torch.cuda.get_device_name())
    parts.append(f"Python {platform.python_version()}")
    for package in PACKAGES:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"Measured on: {', '.join(parts)}."


def processor() -> str:
    """The model of the CPU, with the widest of its vector instructions."""
    about = Path("/proc/cpuinfo")
    text = about.read_text() if about.is_file() else ""
    name = re.search(r"model name\s*:\s*(.+)", text)
    wide = [flag for flag in ("avx512_bf16", "avx512f", "avx2") if re.search(rf"\b{flag}\b", text)]
    model = name[1].strip() if name else platform.processor() or platform.machine()
    return f"{model} ({wide[0]})" if wide else model
