"""Turn any GPT-2 checkpoint into a model directory or into OpenAI's TensorFlow files."""

import sys

from gpt2.ending import end_at_once, raise_interrupts

if __name__ == "__main__":  # before the imports that take a while
    end_at_once("convert.py")

import argparse
import ctypes
from contextlib import suppress

from gpt2.command import run_command
from gpt2.conversion import receipt
from gpt2.conversion.convert import ConvertSettings, convert
from gpt2.flags import add_debug_flag, add_settings, settings_of


def parser() -> argparse.ArgumentParser:
    """Command line, with defaults."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_settings(made, ConvertSettings, place="source")
    add_debug_flag(made)
    return made


def release_early() -> None:
    """Have glibc hand each large block back when it is freed.

    It would keep those of up to 32 MB, and a conversion frees hundreds of tensors of that size: a
    third of the model's size more at the peak. Elsewhere nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    made = parser()
    args = made.parse_args(argv)
    release_early()
    if args.to == "tf" and args.dtype != "float32":
        made.error("--to tf writes float32, as OpenAI's checkpoints are; leave --dtype out")

    def work() -> int:
        done = convert(settings_of(ConvertSettings, args))
        print(*receipt.lines(done), f"{args.out} is written", sep="\n")
        return 0

    room = f"free some for {args.out}, or choose another --out"
    return run_command("convert.py", work, debug=args.debug, room=room)


if __name__ == "__main__":
    raise_interrupts()
    sys.exit(main())
