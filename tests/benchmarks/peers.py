"""This project beside its peers on one machine: transformers, CTranslate2, llama.cpp, vLLM.

    python tests/benchmarks/peers.py [--quick] [--only decode,prefill,batch,classify,page]
        [--out FILE.md] [--picture FILE.png]

Whoever is installed takes part (pip install ctranslate2 gguf llama-cpp-python; vllm on a GPU), each
in a process of its own and with the same weights in the same numbers. They take turns, and the
medians of several rounds are told, beside the memory's limit of this run.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from contest import models, news, picture, race
from contest.clients import Page
from contest.contender import CLASSIFIERS, OURS, WRITERS, Entry, Program
from contest.race import Task
from contest.server import served
from contest.table import PageTimes, Report, machine
from contest.worker import Worker

from gpt2.devices import pick_device
from gpt2.tokenizer import Tokenizer

PARTS = ("decode", "prefill", "batch", "classify", "page")
MEMORY = Program("memory", "", "contest.bandwidth.Memory")
REFERENCE = Program("reference", "", "contest.ours.Reference")
PROMPT = "The president said on Tuesday that"
GREEDY = 24  # tokens that are compared
PAGE_ROUNDS = 3  # at most: each takes minutes
VIEWS = 6  # opened in each round


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


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--quick", action="store_true", help="the same in small: two minutes")
    made.add_argument("--only", default=",".join(PARTS), help="what to measure, with commas")
    made.add_argument("--peers", help="who takes part, with commas; all that are installed")
    made.add_argument("--models", help="with commas; mini and one of 124M's shape")
    made.add_argument("--numbers", help="float32,bfloat16,int8; on a GPU bfloat16")
    made.add_argument("--rounds", type=int, help="of which medians are taken")
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    made.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the CPU"
    )
    made.add_argument("--data", type=Path, metavar="CSV", help="AG News rows to classify")
    made.add_argument("--work", type=Path, help="keep what is converted here, for the next run")
    made.add_argument("--out", type=Path, metavar="FILE.md", help="write the table here too")
    made.add_argument("--picture", type=Path, metavar="FILE.png", help="tokens/s against the limit")
    args = made.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # before any library starts its threads
        os.environ[name] = str(args.threads)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    device = pick_device(args.device).type
    on_gpu = device == "cuda"
    with tempfile.TemporaryDirectory(prefix="gpt2-peers-") as passing:
        work = args.work or Path(passing)
        work.mkdir(parents=True, exist_ok=True)
        plan = Plan(
            parts=_listed(args.only),
            peers=None if args.peers is None else _listed(args.peers),
            models=("mini",) if args.quick else ("mini", models.RANDOM),
            numbers=("bfloat16",) if on_gpu else ("float32", "bfloat16", "int8"),
            device=device,
            threads=args.threads,
            work=work,
            data=args.data,
            batch=(8, 64) if on_gpu else (8,),
        )
        if unknown := set(plan.parts) - set(PARTS):
            made.error(f"--only {','.join(unknown)}: choose from {','.join(PARTS)}")
        plan = plan.quick() if args.quick else plan
        for name in ("models", "numbers"):
            if given := getattr(args, name):
                plan = replace(plan, **{name: _listed(given)})
        if args.rounds:
            plan = replace(plan, rounds=args.rounds)
        report = measure(plan)
    text = report.markdown()
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    if args.picture:
        first = [line for line in report.lines if line.task.name.startswith("decode")]
        first = [line for line in first if line.task == first[0].task]
        picture.draw(
            first,
            f"Tokens a second: {first[0].task.name}",
            machine(plan.device, plan.threads),
            args.picture,
        )
    return 0


def _listed(words: str) -> tuple[str, ...]:
    return tuple(word for word in words.split(",") if word)


def measure(plan: Plan) -> Report:
    """All that the plan names."""
    report = Report(plan.device, plan.threads, plan.rounds)
    memory = Worker(MEMORY, plan.entry(plan.models[0]))
    try:
        if {"decode", "prefill", "batch"} & {*plan.parts}:
            for model in plan.models:
                write_and_read(plan, model, report, memory)
        if "classify" in plan.parts:
            classify(plan, report)
        if "page" in plan.parts:
            report.page = ask_page(plan)
    finally:
        memory.close()
    return report


def write_and_read(plan: Plan, model: str, report: Report, memory: Worker) -> None:
    """One model in all numbers."""
    prompt = Tokenizer(models.directory_of(model, plan.work)).encode(PROMPT)
    with race.started([REFERENCE], plan.entry(model)) as (reference,):
        expected = {
            "logits": reference.call("logits", prompt * 20)[1],
            "greedy": reference.call("write", [prompt * 20], GREEDY, greedy=True)[1][0],
        }
    for numbers in plan.numbers:
        entry = plan.entry(model, numbers)
        with race.started(plan.those(WRITERS), entry) as workers:
            about = {"model": model, "numbers": numbers}
            report.agreements.append(race.agree(workers, prompt * 20, expected, **about))
            for task in tasks(plan, prompt):
                before = memory.call("bandwidth")[1]
                line, _ = race.run(workers, task, plan.rounds, **about)
                report.bandwidth += [before, memory.call("bandwidth")[1]]
                if task.name.startswith("decode"):
                    speed = statistics.mean(report.bandwidth[-2:])
                    line.limit = speed / models.bytes_read(entry.directory, numbers)
                report.lines.append(line)


def tasks(plan: Plan, prompt: list[int]) -> Iterator[Task]:
    """What is written and read."""
    if "decode" in plan.parts:
        for count in plan.decode:
            name = f"decode, {count} tokens"
            yield Task(name, "write", ([prompt], count), count, ([prompt], 8))
    if "prefill" in plan.parts:
        text = (prompt * plan.prefill)[: plan.prefill]
        yield Task(f"read a prompt of {plan.prefill:,}", "read", (text,), 0, (text,))
    if "batch" in plan.parts:
        for rows in plan.batch:
            texts, count = [prompt] * rows, plan.batch_tokens
            name = f"{rows} texts of {count} tokens"
            yield Task(name, "write", (texts, count), rows * count, (texts, 2))


def classify(plan: Plan, report: Report) -> None:
    """News, by this project and by each way of a peer."""
    texts = news.rows(plan.rows, plan.data)
    ours, *ways = CLASSIFIERS
    for way in plan.those(ways):
        with race.started([ours, way], plan.entry("mini-agnews")) as workers:
            name = f"classify {len(texts)} rows, {way.name} {way.way}"
            task = Task(name, "classify", (texts,), 0, (texts[:8],))
            line, found = race.run(
                workers, task, plan.rounds, model="mini-agnews", numbers="float32"
            )
            report.lines.append(line)
            labels = [found[worker.program.name] for worker in workers]
            if any(a != b for a, b in zip(*labels, strict=True)):
                race.say(f"{way.name} {way.way} finds other classes")


def ask_page(plan: Plan) -> PageTimes:
    """The page under its clients, and the same model without a page."""
    found = PageTimes(plan.client_tokens, writers=8)
    numbers = "bfloat16" if plan.device == "cuda" else "float32"
    crowds = [(clients, plan.client_texts, plan.client_tokens) for clients in plan.clients]
    if plan.long_tokens:
        crowds.append((8, 1, plan.long_tokens))
    with (
        race.started([WRITERS[0]], plan.entry("mini", numbers)) as (alone,),
        served("--device", plan.device) as server,
    ):
        page = Page(server.url)
        text = Tokenizer(plan.entry("mini").directory).encode(PROMPT)
        page.crowd(1, 1, 8)
        for _ in range(min(plan.rounds, PAGE_ROUNDS)):
            seconds, _ = alone.call("write", [text], plan.client_tokens)
            found.alone.append(plan.client_tokens / seconds)
            for clients, texts, tokens in crowds:
                crowd = page.crowd(clients, texts, tokens)
                found.crowds.setdefault((clients, tokens), []).append(crowd)
                race.say(f"page, {clients} clients: {crowd.rate:.0f} tokens/s")
            if plan.long_tokens:
                found.views += page.views(found.writers, plan.long_tokens // 2, VIEWS)
    return found


if __name__ == "__main__":
    sys.exit(main())
