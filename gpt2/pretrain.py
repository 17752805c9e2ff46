"""`python -m gpt2.pretrain`: a GPT-2 from random weights, trained to predict the next token.

Source: Radford et al. 2019, sections 2 and 2.3.
"""

import sys

from gpt2.ending import end_at_once, raise_interrupts

if __name__ == "__main__":  # before the imports that take a while
    end_at_once("gpt2.pretrain")

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from gpt2 import weights
from gpt2.checks import check_number
from gpt2.command import run_training
from gpt2.config import GPT2Config
from gpt2.devices import pick_device
from gpt2.flags import parser_for, settings_of, typed
from gpt2.generate import generate
from gpt2.model import GPT2, init_weights
from gpt2.records.answers import perplexity
from gpt2.sampling import Sampling
from gpt2.tokenizer import Tokenizer
from gpt2.training.flops import utilisation
from gpt2.training.next_token import NextToken, read_corpus
from gpt2.training.processes import machines, process_group, rank
from gpt2.training.progress import Point, shown
from gpt2.training.state import RunSettings, State
from gpt2.training.trainer import Trainer, TrainSettings


@dataclass(frozen=True)
class PretrainSettings:
    """What makes the model; a state is resumed under the same settings only.

    Args:
        layers: blocks.
        heads: attention heads of a block.
        embd: width of the residual stream.
        context: tokens.
        tokens: tokens to train on, repeats counted.
        batch_size: windows of --context tokens in a batch.
        accumulate: batches in a step.
        lr: peak learning rate, above 0 and at most 1000.
        warmup: steps of linear rise to it.
        weight_decay: AdamW's decoupled decay of matrices, 0 to 1000.
        dropout: probability while training, from 0 to below 1.
        average: decay of the weights' running average, from 0 for none to below 1.
        hold_out_every: every n-th document measures.
        seed: of the first weights, the order of windows and dropout.
    """

    layers: int = 6
    heads: int = 5
    embd: int = 320
    context: int = 1024
    tokens: int = 100_000_000
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.1
    dropout: float = 0.0
    average: float = 0.0
    hold_out_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("tokens", "batch_size", "accumulate", "hold_out_every"):
            check_number(name, getattr(self, name), 1, whole=True)
        check_number("lr", self.lr, 0, 1000)
        check_number("warmup", self.warmup, 0, whole=True)
        check_number("weight_decay", self.weight_decay, 0, 1000)
        check_number("seed", self.seed, 0, 2**63 - 1, whole=True)


@dataclass(frozen=True, kw_only=True)
class PretrainRun(RunSettings):
    """What a pretraining reads, and tells on the way.

    Args:
        data: text, .xz or .u16 tokens.
        vocab: directory of vocab.json and merges.txt.
        report_every: steps between points of the curve.
        eval_every: steps between measurements of the held-out documents.
        sample: prompt of the samples on the way.
        sample_tokens: tokens of one, 0 = none.
        peak_tflops: the device's peak, 10^12 operations/s, for its utilisation; 0 = if it is known.
    """

    data: tuple[str, ...]
    vocab: str = "checkpoints/mini"
    report_every: int = 10
    eval_every: int = 500
    sample: str = "The"
    sample_tokens: int = 40
    peak_tflops: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("report_every", "eval_every"):
            check_number(name, getattr(self, name), 1, whole=True)
        check_number("sample_tokens", self.sample_tokens, 0, 10**6, whole=True)
        check_number("peak_tflops", self.peak_tflops, 0, 10**9)


class Pretraining:
    """A model from random weights, its corpus, and its curve so far."""

    def __init__(
        self, settings: PretrainSettings, where: PretrainRun, device: torch.device
    ) -> None:
        """Read what it needs, or raise an OSError or a ValueError that says why it can't."""
        self.where, self.device = where, device
        self.step_tokens = settings.batch_size * settings.context * settings.accumulate
        if settings.tokens < self.step_tokens:
            raise ValueError(
                f"--tokens is {settings.tokens}; one step takes {self.step_tokens}, which is "
                "--batch-size times --context times --accumulate"
            )
        torch.set_float32_matmul_precision("high")
        self.tokenizer = Tokenizer(where.vocab)
        self.config = GPT2Config(
            vocab_size=self.tokenizer.vocab_size,
            bos_token_id=self.tokenizer.start_id,
            eos_token_id=self.tokenizer.end_id,
            pad_token_id=self.tokenizer.end_id,
            n_ctx=settings.context,
            n_embd=settings.embd,
            n_layer=settings.layers,
            n_head=settings.heads,
            dropout=settings.dropout,
        )
        context, every = settings.context, settings.hold_out_every
        corpus = read_corpus(where.data, self.tokenizer, hold_out_every=every, context=context)
        self.model = GPT2(self.config)
        init_weights(self.model, seed=settings.seed)
        self.model.to(device)
        shared = ("lr", "warmup", "weight_decay", "accumulate", "average", "seed")
        optimizing = TrainSettings(
            steps=settings.tokens // self.step_tokens,
            **{name: getattr(settings, name) for name in shared},
        )
        batch_size, seed = settings.batch_size, settings.seed
        self.task = NextToken(self.model, corpus, batch_size=batch_size, seed=seed)
        self.measured = self.task.held_out_windows()[:, 1:].size
        digest = hashlib.sha256(np.ascontiguousarray(corpus.train).data).hexdigest()
        run = {**asdict(settings), "training tokens": digest[:16]}
        self.state = State(where, run, device)
        self.trainer = Trainer(self.model, optimizing, state=self.state, stage="pretraining")
        self.total_tokens = optimizing.steps * self.step_tokens
        self.seconds = 0.0

    def train(self) -> Iterator[Point]:
        """Points of the curve, those before a resume too; measures and samples on the way."""
        start, every = time.perf_counter(), self.where.report_every
        yield from self.trainer.points
        yield from self.trainer.run(self.task, self._complete, report_every=every)
        self.seconds = time.perf_counter() - start

    def _complete(self, point: Point) -> Point:
        """A point with the tokens read, and with what is measured there."""
        point, where = replace(point, read=point.step * self.step_tokens), self.where
        last = point.step == self.trainer.settings.steps
        if point.step % where.eval_every >= where.report_every and not last:
            return point
        with self.trainer.averaged():
            loss = self.task.held_out_loss()
            text = self._sample() if where.sample_tokens and rank() == 0 else None
        return replace(point, held_out={"loss": loss}, sample=text)

    def _sample(self) -> str:
        """The prompt and what the model makes of it, always with the same luck."""
        where, room, end = self.where, self.config.n_ctx, self.tokenizer.end_id
        start = 0 if self.tokenizer.start_id is None else self.tokenizer.start_id
        ids = (self.tokenizer.encode(where.sample) or [start])[-room // 2 :]
        eos, luck = -1 if end is None else end, Sampling(seed=0)
        steps = generate(self.model, ids, luck, max_new_tokens=where.sample_tokens, eos=eos)
        return where.sample + self.tokenizer.decode([step.id for step in steps])

    def record(self, point: Point) -> dict[str, Any]:
        """A point as it is printed and kept."""
        made = {"step": point.step, "loss": point.loss}
        made["tokens_per_second"] = point.steps_per_second * self.step_tokens
        if point.held_out is not None:
            made["held_out_loss"] = point.held_out["loss"]
        return made if point.sample is None else {**made, "sample": point.sample}

    def metrics(self) -> dict[str, Any]:
        """What came of it, once it is trained."""
        last = self.record(self.trainer.points[-1])
        rate, given = last["tokens_per_second"], self.where.peak_tflops
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "train_tokens": len(self.task.corpus.train),
            "held_out_tokens": self.measured,
            "tokens_seen": self.total_tokens,
            "seconds": self.seconds,
            **machines(self.device),
            "held_out_loss": last["held_out_loss"],
            "held_out_perplexity": perplexity(last["held_out_loss"]),
            **utilisation(rate, self.config, self.device, given=given),
        }

    def write(self, metrics: dict[str, Any]) -> None:
        """Write the model directory with its metrics and curve; the state is done with."""
        points = self.trainer.points
        curves = {
            "curve": [self.record(point) for point in points[:: max(1, len(points) // 200)]],
            "samples": [self.record(point) for point in points if point.sample is not None],
        }
        dtype = getattr(torch, self.where.save_dtype)
        with self.trainer.averaged(), weights.whole_directory(self.where.out) as work:
            weights.write_model(self.model, work, vocabulary=self.where.vocab, dtype=dtype)
            weights.write_json(work / "metrics.json", {**metrics, **curves})
        self.state.remove()


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    told, name = "Train a GPT-2 from random weights.", "python -m gpt2.pretrain"
    made = parser_for(told, PretrainRun, PretrainSettings, prog=name)
    args = made.parse_args(argv)
    try:
        where, settings = settings_of(PretrainRun, args), settings_of(PretrainSettings, args)
    except ValueError as error:
        made.error(str(error))

    def work() -> int:
        device = pick_device(where.device)
        with process_group(device, where.out):
            job, leads = Pretraining(settings, where, device), rank() == 0
            for point in shown(job.train(), total=job.total_tokens, unit="tok", quiet=not leads):
                if point.held_out is not None and leads:
                    tqdm.write(json.dumps(job.record(point)))
            metrics = {"command": typed(name, argv), **job.metrics()}
            if leads:
                job.write(metrics)
        if leads:
            print(json.dumps(metrics, indent=1))
        return 0

    return run_training("gpt2.pretrain", work, debug=args.debug, out=where.out)


if __name__ == "__main__":
    raise_interrupts()
    sys.exit(main())
