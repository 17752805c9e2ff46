"""What replicas cost beside one process: start, memory, and CPU time of a token and of a view.

    pip install "ray[serve]" && python tests/benchmarks/replicas.py

CPU times are of all processes of a page, which are found in /proc.
"""

import argparse
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from contest.clients import Page
from contest.server import served

CLIENTS, TEXTS, TOKENS, VIEWS = 8, 8, 60, 40
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Use:
    """What processes have used: CPU seconds of the page and of all others, and bytes they hold."""

    page: float
    others: float
    memory: float

    def __sub__(self, earlier: "Use") -> tuple[float, float]:
        """CPU seconds of the page and of all others since then."""
        return self.page - earlier.page, self.others - earlier.others

    @classmethod
    def of(cls, pid: int) -> "Use":
        """Of a page and of all that it has started."""
        cpu = {one: seconds(one) for one in family(pid)}
        memory = sum(held(one) for one in cpu)
        return cls(cpu[pid], sum(cpu.values()) - cpu[pid], memory)


def family(pid: int) -> list[int]:
    """A process and all that came of it."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def seconds(pid: int) -> float:
    """CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def held(pid: int) -> int:
    """Memory of a process in bytes, its share of what it has in common with others."""
    (kilobytes,) = re.findall(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    return int(kilobytes) * 1024


def measure(flags: list[str]) -> str:
    """A line of the table."""
    begun = time.perf_counter()
    with served(*flags) as server:
        started = time.perf_counter() - begun
        page = Page(server.url)
        page.crowd(CLIENTS, 1, TOKENS)
        before = Use.of(server.pid)
        crowd = page.crowd(CLIENTS, TEXTS, TOKENS)
        after = Use.of(server.pid)
        tokens = sum(text.tokens for one in crowd.texts for text in one)
        page.views(0, 0, VIEWS)
        viewed = Use.of(server.pid)
        token = [1000 * part / tokens for part in (after - before)]
        view = [1000 * part / VIEWS for part in (viewed - after)]
        name, megabytes = " ".join(flags) or "one process", viewed.memory / 1e6
        return (
            f"| {name} | {started:.0f} s | {megabytes:.0f} MB | {crowd.rate:.0f} "
            f"| {token[0]:.2f} + {token[1]:.2f} | {view[0]:.0f} + {view[1]:.0f} |"
        )


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("--replicas", type=int, default=2, metavar="N")
    count = asked.parse_args().replicas
    print("| | start | memory | tokens/s, 8 clients | CPU ms a token, page + others | of a view |")
    print("| --- | --- | --- | --- | --- | --- |")
    for flags in ([], ["--replicas", str(count)]):
        print(measure(flags), flush=True)


if __name__ == "__main__":
    main()
