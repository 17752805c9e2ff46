"""The command line of `python -m gpt2.pretrain`."""

import argparse
from collections.abc import Callable

from gpt2.checks import check_number
from gpt2.command import add_debug_flag

# Flags that another training is made by; a state is resumed under the same ones only.
DECIDING = ("layers", "heads", "embd", "context", "tokens", "batch_size", "accumulate", "lr")
DECIDING += ("warmup", "weight_decay", "dropout", "average", "hold_out_every", "seed")


def at_least_one(text: str) -> int:
    """A flag's whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def number(low: float, high: float, *, whole: bool = False) -> Callable[[str], float | int]:
    """The type of a flag that takes a number of a range; nan is in none."""

    def read(text: str) -> float | int:
        value = int(text) if whole else float(text)
        try:
            return check_number("it", value, low, high, whole=whole)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    read.__name__ = "whole number" if whole else "number"  # argparse says "invalid ... value"
    return read


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
    add("--lr", type=number(0, 1000), default=1e-3, help="peak learning rate")
    add("--warmup", type=number(0, 10**12, whole=True), default=200, help="steps")
    add("--weight-decay", type=number(0, 1000), default=0.1)
    add("--dropout", type=float, default=0.0)
    add("--average", type=float, default=0.0, help="decay of the weights' running average")
    add("--hold-out-every", type=at_least_one, default=200, help="every n-th document measures")
    add("--report-every", type=at_least_one, default=10, help="steps")
    add("--eval-every", type=at_least_one, default=500, help="steps")
    add("--sample", default="The", metavar="TEXT", help="prompt of the samples on the way")
    add(
        "--sample-tokens",
        type=number(0, 10**6, whole=True),
        default=40,
        help="tokens of one, 0 = none",
    )
    add(
        "--peak-tflops",
        type=number(0, 10**9),
        default=0.0,
        help="the device's peak, 10^12 operations/s, for its utilisation; 0 = if it is known",
    )
    add(
        "--save-minutes",
        type=number(0, 10**6),
        default=5,
        help="minutes between states to resume from",
    )
    add("--save-dtype", choices=("float32", "bfloat16", "float16"), default="float16")
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    add("--seed", type=number(0, 2**63 - 1, whole=True), default=0)
    add("--resume", action="store_true", help="go on from the last saved state, if any")
    add_debug_flag(made)
    return made
