"""`python -m gpt2.pretrain`: a GPT-2 from random weights, trained to predict the next token.

Source: Radford et al. 2019, sections 2 and 2.3. Imports: torch, numpy, tqdm.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gpt2 import data, weights
from gpt2.config import GPT2Config
from gpt2.losses import compiled_chunk, head_loss
from gpt2.model import GPT2, init_weights
from gpt2.tokenizer import Tokenizer
from gpt2.training import (
    Trainer,
    TrainSettings,
    low_precision,
    pick_device,
    process_group,
    rank,
    world_size,
)


@dataclass(frozen=True)
class Corpus:
    """Tokens to train on and tokens held out, uint16."""

    train: np.ndarray
    held_out: np.ndarray


def read_corpus(paths: list[str], tokenizer: Tokenizer, *, hold_out_every: int) -> Corpus:
    """Read files; one named twice counts twice, with the same documents held out."""
    parts = [data.hold_out(data.read_tokens(p, tokenizer), every=hold_out_every) for p in paths]
    unique = {path: part[1] for path, part in zip(paths, parts, strict=True)}
    return Corpus(np.concatenate([part[0] for part in parts]), np.concatenate([*unique.values()]))


class NextToken:
    """The loss of batch number i, and of the held-out tokens."""

    def __init__(
        self, model: GPT2, corpus: Corpus, *, batch_size: int, seed: int, compiled: bool
    ) -> None:
        self.model, self.corpus = model, corpus
        self.batch_size, self.seed = batch_size, seed
        self.hidden = torch.compile(model.hidden) if compiled else model.hidden
        self.chunk = {"compute": compiled_chunk(), "chunk_size": 16384} if compiled else {}

    def __call__(self, batch: int) -> Tensor:
        """Loss of this process's share of a batch, differentiable."""
        rows = data.windows(
            self.corpus.train,
            context=self.model.config.n_ctx,
            batch_size=self.batch_size,
            step=batch,
            seed=self.seed,
        )
        return self.loss(rows[rank() :: world_size()])

    def loss(self, rows: np.ndarray) -> Tensor:
        """Mean loss over windows [B, T + 1]."""
        device = self.model.device
        ids = torch.from_numpy(rows)
        if device.type == "cuda":
            ids = ids.pin_memory().to(device, non_blocking=True)
        with low_precision(device):
            hidden = self.hidden(ids[:, :-1])
        if device.type == "cuda":
            hidden = hidden.bfloat16()
        return head_loss(hidden, self.model.wte.weight, ids[:, 1:], **self.chunk)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean loss over held-out windows, in nats per token; whole batches, 512 at most."""
        context, tokens = self.model.config.n_ctx, self.corpus.held_out
        count = min(512, (len(tokens) - 1) // context)
        if count > self.batch_size:
            count -= count % self.batch_size
        if count < 1:
            raise ValueError(f"{len(tokens)} held-out tokens; one window takes {context + 1}")
        rows = np.stack([tokens[i * context : i * context + context + 1] for i in range(count)])
        rows = rows.astype(np.int64)
        size = self.batch_size
        self.model.eval()
        losses = [self.loss(rows[i : i + size]).item() for i in range(0, count, size)]
        sizes = [len(rows[i : i + size]) for i in range(0, count, size)]
        return float(np.average(losses, weights=sizes))


def pretrain(args: argparse.Namespace) -> dict:
    """Train, write the model directory and return what its metrics.json holds."""
    device = pick_device(args.device)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer(args.vocab)
    config = GPT2Config(
        n_ctx=args.context,
        n_embd=args.embd,
        n_layer=args.layers,
        n_head=args.heads,
        dropout=args.dropout,
    )
    corpus = read_corpus(args.data, tokenizer, hold_out_every=args.hold_out_every)
    model = GPT2(config)
    init_weights(model, seed=args.seed)
    model.to(device)
    step_tokens = args.batch_size * args.context * args.accumulate
    settings = TrainSettings(
        steps=max(1, args.tokens // step_tokens),
        lr=args.lr,
        warmup=args.warmup,
        weight_decay=args.weight_decay,
        accumulate=args.accumulate,
        average=args.average,
    )
    trainer = Trainer(model, settings)
    task = NextToken(
        model, corpus, batch_size=args.batch_size, seed=args.seed, compiled=device.type == "cuda"
    )
    out = Path(args.out)
    state = out.with_name(out.name + ".state")
    if args.resume and state.is_file():
        trainer.load(state)
    out.parent.mkdir(parents=True, exist_ok=True)
    start, curve = time.perf_counter(), []
    with tqdm(
        total=settings.steps * step_tokens,
        initial=trainer.step * step_tokens,
        unit="tok",
        unit_scale=True,
        disable=rank() != 0,
        mininterval=5,
    ) as bar:
        for point in _train(trainer, task, args, state, step_tokens):
            curve.append(point)
            bar.update(point["step"] * step_tokens - bar.n)
            bar.set_postfix(loss=f"{point['loss']:.4f}")
            if "held_out_loss" in point and rank() == 0:
                bar.write(json.dumps(point))
    with trainer.averaged():
        loss = task.held_out_loss()
        metrics = {
            "command": " ".join(args.command),
            "parameters": sum(p.numel() for p in model.parameters()),
            "train_tokens": len(corpus.train),
            "held_out_tokens": len(corpus.held_out),
            "tokens_seen": settings.steps * step_tokens,
            "seconds": time.perf_counter() - start,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
            "held_out_loss": loss,
            "held_out_perplexity": float(np.exp(loss)),
            "curve": curve[:: max(1, len(curve) // 200)],
        }
        if rank() == 0:
            weights.save(model, out, vocabulary=args.vocab, dtype=getattr(torch, args.save_dtype))
            (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
            state.unlink(missing_ok=True)
    return metrics


def _train(
    trainer: Trainer, task: NextToken, args: argparse.Namespace, state: Path, step_tokens: int
) -> Iterator[dict]:
    """Points of the curve; measures and saves on the way."""
    started_at, start = trainer.step, time.perf_counter()
    saved = start
    for report in trainer.run(task, report_every=args.report_every):
        now = time.perf_counter()
        rate = (report.step - started_at) * step_tokens / (now - start)
        point = {"step": report.step, "loss": report.loss, "tokens_per_second": rate}
        last = report.step == trainer.settings.steps
        if report.step % args.eval_every < args.report_every or last:
            with trainer.averaged():
                point["held_out_loss"] = task.held_out_loss()
        yield point
        if now - saved > args.save_minutes * 60:
            trainer.save(state)
            saved = now


def at_least_one(text: str) -> int:
    """A flag's whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def parser() -> argparse.ArgumentParser:
    """Command line, with defaults and units."""
    made = argparse.ArgumentParser(
        prog="python -m gpt2.pretrain",
        description="Train a GPT-2 from random weights.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = made.add_argument
    add("--data", nargs="+", required=True, metavar="FILE", help="text, .xz or .u16 tokens")
    add("--out", required=True, metavar="DIR", help="model directory to write")
    add("--vocab", default="checkpoints/mini", metavar="DIR", help="vocab.json and merges.txt")
    add("--layers", type=int, default=6)
    add("--heads", type=int, default=5)
    add("--embd", type=int, default=320, help="width of the residual stream")
    add("--context", type=int, default=1024, help="tokens")
    add(
        "--tokens",
        type=at_least_one,
        default=100_000_000,
        help="tokens to train on, repeats counted",
    )
    add(
        "--batch-size", type=at_least_one, default=16, help="windows of --context tokens in a batch"
    )
    add("--accumulate", type=at_least_one, default=1, help="batches in a step")
    add("--lr", type=float, default=1e-3, help="peak learning rate")
    add("--warmup", type=int, default=200, help="steps")
    add("--weight-decay", type=float, default=0.1)
    add("--dropout", type=float, default=0.0)
    add("--average", type=float, default=0.0, help="decay of the weights' running average")
    add("--hold-out-every", type=at_least_one, default=200, help="every n-th document measures")
    add("--report-every", type=at_least_one, default=10, help="steps")
    add("--eval-every", type=at_least_one, default=500, help="steps")
    add("--save-minutes", type=float, default=5, help="minutes between states to resume from")
    add("--save-dtype", choices=("float32", "bfloat16", "float16"), default="float16")
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    add("--seed", type=int, default=0)
    add("--resume", action="store_true", help="go on from the last saved state, if any")
    return made


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    args = parser().parse_args(argv)
    given = argv if argv is not None else sys.argv[1:]
    args.command = ["python -m gpt2.pretrain", *(os.path.basename(word) for word in given)]
    try:
        with process_group(pick_device(args.device)):
            metrics, leads = pretrain(args), rank() == 0
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"gpt2.pretrain: {error}", file=sys.stderr)
        return 1
    if leads:
        del metrics["curve"]
        print(json.dumps(metrics, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
