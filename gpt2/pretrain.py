"""`python -m gpt2.pretrain`: a GPT-2 from random weights, trained to predict the next token.

Source: Radford et al. 2019, sections 2 and 2.3. Imports: torch, numpy, tqdm.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from gpt2 import weights
from gpt2.command import run_training
from gpt2.config import GPT2Config
from gpt2.devices import device_name, pick_device
from gpt2.generate import generate
from gpt2.model import GPT2, init_weights
from gpt2.pretrain_flags import DECIDING, parser
from gpt2.records.answers import perplexity
from gpt2.sampling import Sampling
from gpt2.tokenizer import Tokenizer
from gpt2.training.flops import utilisation
from gpt2.training.next_token import Corpus, NextToken, read_corpus
from gpt2.training.processes import process_group, rank, world_size
from gpt2.training.state import sole_writer
from gpt2.training.trainer import Trainer, TrainSettings


def pretrain(args: argparse.Namespace) -> dict:
    """Train, write the model directory and return what its metrics.json holds."""
    device = pick_device(args.device)
    step_tokens = args.batch_size * args.context * args.accumulate
    if args.tokens < step_tokens:
        raise ValueError(
            f"--tokens is {args.tokens}; one step takes {step_tokens}, which is --batch-size times "
            "--context times --accumulate"
        )
    torch.set_float32_matmul_precision("high")
    tokenizer = Tokenizer(args.vocab)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size,
        bos_token_id=tokenizer.start_id,
        eos_token_id=tokenizer.end_id,
        pad_token_id=tokenizer.end_id,
        n_ctx=args.context,
        n_embd=args.embd,
        n_layer=args.layers,
        n_head=args.heads,
        dropout=args.dropout,
    )
    corpus = read_corpus(
        args.data, tokenizer, hold_out_every=args.hold_out_every, context=config.n_ctx
    )
    model = GPT2(config)
    init_weights(model, seed=args.seed)
    model.to(device)
    settings = TrainSettings(
        steps=args.tokens // step_tokens,
        lr=args.lr,
        warmup=args.warmup,
        weight_decay=args.weight_decay,
        accumulate=args.accumulate,
        average=args.average,
        seed=args.seed,
    )
    trainer = Trainer(model, settings)
    task = NextToken(
        model, corpus, batch_size=args.batch_size, seed=args.seed, compiled=device.type == "cuda"
    )
    measured = task.held_out_windows()[:, 1:].size
    run = identity(args, corpus)
    out = Path(args.out)
    state = out.with_name(out.name + ".state")
    before = trainer.load(state, run=run)["points"] if args.resume and state.is_file() else []
    out.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    points = watch(train(trainer, task, args, before, state, run), settings.steps, step_tokens)
    last = points[-1]
    metrics = {
        "command": " ".join(args.command),
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_tokens": len(corpus.train),
        "held_out_tokens": measured,
        "tokens_seen": settings.steps * step_tokens,
        "seconds": time.perf_counter() - start,
        "device": device_name(device),
        "processes": world_size(),
        "held_out_loss": last["held_out_loss"],
        "held_out_perplexity": perplexity(last["held_out_loss"]),
        **utilisation(last["tokens_per_second"], config, device, given=args.peak_tflops),
        "curve": points[:: max(1, len(points) // 200)],
        "samples": [point for point in points if "sample" in point],
    }
    if rank() == 0:
        with trainer.averaged(), weights.whole_directory(out) as work:
            weights.save(model, work, vocabulary=args.vocab, dtype=getattr(torch, args.save_dtype))
            (work / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        state.unlink(missing_ok=True)
    return metrics


def identity(args: argparse.Namespace, corpus: Corpus) -> dict[str, object]:
    """What a state to resume from must have been made with."""
    digest = hashlib.sha256(np.ascontiguousarray(corpus.train)).hexdigest()
    return {**{name: getattr(args, name) for name in DECIDING}, "training tokens": digest[:16]}


def watch(points: Iterator[dict], steps: int, step_tokens: int) -> list[dict]:
    """All points of a training, shown as they come in a progress bar."""
    seen = []
    with tqdm(
        total=steps * step_tokens, unit="tok", unit_scale=True, disable=rank() != 0, mininterval=5
    ) as bar:
        for point in points:
            seen.append(point)
            bar.update(point["step"] * step_tokens - bar.n)
            bar.set_postfix(loss=f"{point['loss']:.4f}")
            if "held_out_loss" in point and rank() == 0:
                bar.write(json.dumps(point))
    return seen


def train(
    trainer: Trainer,
    task: NextToken,
    args: argparse.Namespace,
    points: list[dict],
    state: Path,
    run: dict[str, object],
) -> Iterator[dict]:
    """Points of the curve, those before a resume first; measures, samples and saves on the way."""
    yield from points
    points = list(points)
    step_tokens = args.batch_size * args.context * args.accumulate
    tokenizer = Tokenizer(args.vocab)
    since, working = trainer.step, 0.0
    start = saved = time.perf_counter()
    for report in trainer.run(task, report_every=args.report_every):
        now = time.perf_counter()
        working += now - start
        rate = (report.step - since) * step_tokens / working
        point = {"step": report.step, "loss": report.loss, "tokens_per_second": rate}
        last = report.step == trainer.settings.steps
        if report.step % args.eval_every < args.report_every or last:
            with trainer.averaged() as model:
                point["held_out_loss"] = task.held_out_loss()
                if args.sample_tokens and rank() == 0:
                    point["sample"] = sample(model, tokenizer, args.sample, args.sample_tokens)
        points.append(point)
        if now - saved >= args.save_minutes * 60 or last:
            trainer.save(state, run=run, notes={"points": points})
            saved = now
        yield point
        start = time.perf_counter()  # measuring and saving are not counted into the rate


def sample(model: GPT2, tokenizer: Tokenizer, prompt: str, tokens: int) -> str:
    """A prompt and what the model makes of it, always with the same luck."""
    ids = tokenizer.encode(prompt) or [tokenizer.start_id]
    room = model.config.n_ctx
    steps = generate(
        model, ids[-room // 2 :], Sampling(seed=0), max_new_tokens=tokens, eos=tokenizer.end_id
    )
    return prompt + tokenizer.decode([step.id for step in steps])


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    args = parser().parse_args(argv)
    given = argv if argv is not None else sys.argv[1:]
    args.command = ["python -m gpt2.pretrain", *(os.path.basename(word) for word in given)]

    def work() -> int:
        with process_group(pick_device(args.device)), sole_writer(args.out):
            metrics, leads = pretrain(args), rank() == 0
        if leads:
            del metrics["curve"], metrics["samples"]
            print(json.dumps(metrics, indent=1))
        return 0

    return run_training("gpt2.pretrain", work, debug=args.debug, out=args.out)


if __name__ == "__main__":
    sys.exit(main())
