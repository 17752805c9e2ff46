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
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from contest import models, news, picture, race
from contest.contender import CLASSIFIERS, OURS, WRITERS, Program
from contest.plan import PARTS, PROMPT, Plan, tasks
from contest.race import Agreement, Line, Task
from contest.table import Report, machine
from contest.worker import Worker

from gpt2 import weights
from gpt2.devices import pick_device
from gpt2.tokenizer import Tokenizer

MEMORY = Program("memory", "", "contest.bandwidth.Memory")
REFERENCE = Program("reference", "", "contest.ours.Reference")
COMPARED, GREEDY = 140, 24  # tokens after which logits are compared; and tokens written then


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--quick", action="store_true", help="the same in small: two minutes")
    made.add_argument("--only", default=",".join(PARTS), help="what to measure, with commas")
    made.add_argument("--peers", help="who takes part, with commas; all that are installed")
    made.add_argument("--models", help="with commas; mini and one of 124M's shape")
    made.add_argument("--numbers", help="float32,bfloat16,int8; on a GPU bfloat16")
    made.add_argument("--tokens", help="to decode, with commas; 64,512")
    made.add_argument("--rounds", type=int, help="of which medians are taken")
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    made.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    made.add_argument("--data", type=Path, metavar="CSV", help="AG News rows to classify")
    made.add_argument("--work", type=Path, help="keep what is converted here, for the next run")
    made.add_argument("--out", type=Path, metavar="FILE.md", help="write the table here too")
    made.add_argument("--picture", type=Path, metavar="FILE.png", help="tokens/s against the limit")
    args = made.parse_args()
    if unknown := set(_listed(args.only)) - set(PARTS):
        made.error(f"--only {','.join(unknown)}: choose from {','.join(PARTS)}")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # the contenders' processes read them
        os.environ[name] = str(args.threads)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    with tempfile.TemporaryDirectory(prefix="gpt2-peers-") as passing:
        work = args.work or Path(passing)
        work.mkdir(parents=True, exist_ok=True)
        plan = planned(args, work)
        for report in measure(plan):
            if args.out:  # what there is, so that a run that is stopped leaves it
                args.out.write_text(report.markdown(), encoding="utf-8")
    print(report.markdown())
    lines = [line for line in report.lines if line.limit]
    if args.picture and lines:
        task = lines[0].task  # of several lengths the shortest
        title, below = f"Tokens a second, {task.name}", machine(plan.device, plan.threads)
        lines = [line for line in lines if line.task == task]
        picture.draw(lines, title, below, args.picture)
    return 0


def planned(args: argparse.Namespace, work: Path) -> Plan:
    """What the command line asks for."""
    device = pick_device(args.device).type
    plan = Plan(
        parts=_listed(args.only),
        peers=None if args.peers is None else _listed(args.peers),
        models=("mini", models.RANDOM),
        numbers=("float32", "bfloat16", "int8"),
        device=device,
        threads=args.threads,
        work=work,
        data=args.data,
    )
    if device == "cuda":
        plan = replace(plan, numbers=("bfloat16",), batch=(8, 64))
    if args.quick:
        plan = plan.quick()
    return replace(
        plan,
        models=_listed(args.models) if args.models else plan.models,
        numbers=_listed(args.numbers) if args.numbers else plan.numbers,
        decode=tuple(map(int, _listed(args.tokens))) if args.tokens else plan.decode,
        rounds=args.rounds or plan.rounds,
    )


def _listed(words: str) -> tuple[str, ...]:
    return tuple(word for word in words.split(",") if word)


def measure(plan: Plan) -> Iterator[Report]:
    """All that the plan names; the report so far after each line of it."""
    report = Report(plan.device, plan.threads, plan.rounds)
    memory = Worker(MEMORY, plan.entry(plan.models[0]))
    try:
        if {"decode", "prefill", "batch"} & {*plan.parts}:
            for model in plan.models:
                for _ in write_and_read(plan, model, report, memory):
                    yield report
        if "classify" in plan.parts:
            classify(plan, report)
            yield report
        if "page" in plan.parts:
            from contest.clients import ask_page  # a GPU's machine may have no page

            report.page = ask_page(plan)
        yield report
    finally:
        memory.close()


def write_and_read(plan: Plan, model: str, report: Report, memory: Worker) -> Iterator[Line]:
    """One model in all numbers; its lines as they are added to the report."""
    directory = models.directory_of(model, plan.work)
    prompt, n_ctx = Tokenizer(directory).encode(PROMPT), weights.read_config(directory).n_ctx
    text = (prompt * COMPARED)[: min(COMPARED, n_ctx - GREEDY)]
    with race.started([REFERENCE], plan.entry(model)) as (reference,):
        expected = {
            "logits": reference.call("logits", text)[1],
            "greedy": reference.call("write", [text], GREEDY, greedy=True)[1][0],
        }
    for numbers in plan.numbers:
        entry = plan.entry(model, numbers)
        with race.started(plan.those(WRITERS), entry) as workers:
            if not workers:
                continue
            about = {"model": directory.name, "numbers": numbers}
            report.agreements.append(race.agree(workers, text, expected, **about))
            for task in tasks(plan, prompt, n_ctx=n_ctx):
                before = memory.call("bandwidth")[1]
                line, _ = race.run(workers, task, plan.rounds, **about)
                report.bandwidth += [before, memory.call("bandwidth")[1]]
                if task.name.startswith("decode"):
                    speed = statistics.mean(report.bandwidth[-2:])
                    line.limit = speed / models.bytes_read(entry.directory, numbers)
                report.lines.append(line)
                yield line


def classify(plan: Plan, report: Report) -> None:
    """News, by this project and by each way of a peer."""
    texts = news.rows(plan.rows, plan.data)
    ours, *ways = CLASSIFIERS
    classes = Agreement("mini-agnews", "float32", len(texts))
    for way in plan.those(ways):
        with race.started([ours, way], plan.entry("mini-agnews")) as workers:
            name = f"classify {len(texts)} rows, {way.name} {way.way}"
            task = Task(name, "classify", (texts,), 0, (texts[:8],))
            line, found = race.run(
                workers, task, plan.rounds, model="mini-agnews", numbers="float32"
            )
            report.lines.append(line)
            for worker in workers:
                name = worker.program.name
                same = sum(a == b for a, b in zip(found[OURS], found[name], strict=True))
                classes.equal[name] = min(same, classes.equal.get(name, same))
    if classes.equal:
        report.agreements.append(classes)


if __name__ == "__main__":
    sys.exit(main())
