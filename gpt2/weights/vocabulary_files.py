"""The vocabulary's files beside a model: where they are taken from, and copied to."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from gpt2.vocabulary import FILES, OPENAI_NAMES, PAIR, SETTINGS_FILE, find_vocabulary, read_entries
from gpt2.weights.files import read_json


@dataclass(frozen=True)
class VocabularyPlace:
    """The directory of a checkpoint's vocabulary, and what a receipt should say of it."""

    directory: Path
    note: str = ""


def pick_vocabulary(source: Path, *, given: str | None, shipped: Path) -> VocabularyPlace:
    """Where the vocabulary of a checkpoint is: as given, else beside it.

    A .pt file never has one beside it, so it gets the one that ships with this project.

    Args:
        source: the checkpoint, a directory or a file.
        given: a directory to take it from, None for the checkpoint's own.
        shipped: a directory of this project that has GPT-2's.

    Raises:
        FileNotFoundError: there is none.
    """
    place = Path(given) if given else source if source.is_dir() else source.parent
    shipped_name = f"{shipped.parent.name}/{shipped.name}"
    try:
        find_vocabulary(place)
    except FileNotFoundError as error:
        if source.suffix == ".pt" and not given:
            return VocabularyPlace(shipped, f"vocabulary copied from {shipped_name}")
        raise FileNotFoundError(
            f"{error}; put the model's there, or add --vocab {shipped_name} to use GPT-2's, which "
            "ships here"
        ) from error
    return VocabularyPlace(place)


def copy_vocabulary(source: str | Path, target: str | Path, *, openai: bool = False) -> None:
    """Put the vocabulary of one directory into another, under Hugging Face's names or OpenAI's.

    Files are copied as they are; the pair is written where there is only a tokenizer.json, or one
    that says something else.

    Raises:
        FileNotFoundError, ValueError: as read_vocabulary.
    """
    source, target = Path(source), Path(target)
    files = find_vocabulary(source)
    if not openai:
        for name in set(FILES) - set(PAIR):
            if (source / name).is_file():
                shutil.copyfile(source / name, target / name)
    names = [OPENAI_NAMES[name] if openai else name for name in PAIR]
    pair = files if len(files) == 2 else tuple(source / name for name in PAIR)
    whole = all(path.is_file() for path in pair)
    if whole and (len(files) == 2 or read_entries(pair) == read_entries(files)):
        for path, name in zip(pair, names, strict=True):
            shutil.copyfile(path, target / name)
        return
    ids, merges = read_entries(files)
    ordered = dict(sorted(ids.items(), key=lambda item: item[1]))
    (target / names[0]).write_text(json.dumps(ordered, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (target / names[1]).write_text("\n".join(lines), encoding="utf-8")


def keep_max_length(directory: Path, length: int) -> None:
    """Write down how long the texts are that a model was trained on, where transformers looks.

    Args:
        directory: of the model; what its tokenizer_config.json says else stays.
        length: in tokens.
    """
    path = directory / SETTINGS_FILE
    settings = read_json(path) if path.is_file() else {}
    settings = {"tokenizer_class": "GPT2Tokenizer"} | settings | {"model_max_length": length}
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
