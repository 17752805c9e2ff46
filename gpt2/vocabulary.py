"""GPT-2's two vocabulary files: where they are beside a checkpoint, and under which names.

Imports: stdlib.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpt2.tokenizer import VOCAB_SHA256, check_vocabulary_file

# Our names -> OpenAI's.
OPENAI_NAMES = {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"}


@dataclass(frozen=True)
class Vocabulary:
    """Where the two files are, by our names, and what a receipt should say of it."""

    files: Mapping[str, Path]
    note: str = ""


def pick_vocabulary(source: Path, *, given: str | None, shipped: Path) -> Vocabulary:
    """GPT-2's vocabulary for a checkpoint: the one given, else the one beside it.

    A .pt file never has one beside it, so it gets the one that ships with this project.

    Args:
        source: the checkpoint, a directory or a file.
        given: a directory to take it from, None for the checkpoint's own.
        shipped: a directory of this project that has it.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is not GPT-2's.
    """
    place = Path(given) if given else source if source.is_dir() else source.parent
    for names in ({name: name for name in VOCAB_SHA256}, OPENAI_NAMES):
        files = {ours: place / theirs for ours, theirs in names.items()}
        if any(path.exists() for path in files.values()):
            for ours, path in files.items():
                check_vocabulary_file(path, VOCAB_SHA256[ours])
            return Vocabulary(files)
    shipped_name = f"{shipped.parent.name}/{shipped.name}"
    if source.suffix == ".pt" and not given:
        files = {name: shipped / name for name in VOCAB_SHA256}
        return Vocabulary(files, f"vocabulary copied from {shipped_name}")
    raise FileNotFoundError(
        f"{place} has no vocabulary ({' and '.join(OPENAI_NAMES.values())}, or "
        f"{' and '.join(OPENAI_NAMES)}); put GPT-2's there, or add --vocab {shipped_name} to use "
        "the one that ships here"
    )
