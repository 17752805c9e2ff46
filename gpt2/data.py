"""`python -m gpt2.data FILE... --out tokens.u16`: tokenize prose once, for pretraining."""

import sys

from gpt2.ending import end_at_once, raise_interrupts

if __name__ == "__main__":  # before the imports that take a while
    end_at_once("gpt2.data")

import argparse

from gpt2.command import run_command
from gpt2.flags import add_debug_flag
from gpt2.training.corpus import read_tokens, write_u16

__all__ = ["main", "read_tokens"]


def main(argv: list[str] | None = None) -> int:
    """Tokenize text files into one file of 16-bit tokens."""
    parser = argparse.ArgumentParser(prog="python -m gpt2.data", description=main.__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="text, plain or .xz")
    parser.add_argument("--out", required=True, metavar="FILE.u16")
    parser.add_argument(
        "--vocab", default="checkpoints/mini", metavar="DIR", help="holds vocab.json, merges.txt"
    )
    add_debug_flag(parser)
    args = parser.parse_args(argv)

    def work() -> int:
        for path, count in write_u16(args.files, args.out, vocab=args.vocab):
            print(f"{path}: {count:,} tokens")
        return 0

    room = f"free some for {args.out}, or choose another --out"
    return run_command("gpt2.data", work, debug=args.debug, room=room)


if __name__ == "__main__":
    raise_interrupts()
    sys.exit(main())
