"""Fine-tune a GPT-2 to name the topic of AG News texts; alone or under torchrun."""

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from gpt2 import figures, weights
from gpt2.agnews import baselines, report
from gpt2.agnews import download as agnews_files
from gpt2.agnews.adapt import TRAIN_MODES
from gpt2.agnews.finetune import MOST, FinetuneSettings, State, finetune
from gpt2.agnews.news import AGNEWS_LABELS, Split, read_split
from gpt2.agnews.rows import Rows, news_scores
from gpt2.checks import check_number
from gpt2.classifier import GPT2Classifier
from gpt2.command import add_debug_flag, run_training
from gpt2.devices import device_name, pick_device
from gpt2.tokenizer import Tokenizer, load_tokenizer
from gpt2.training.processes import process_group, rank, wait_for_all, world_size
from gpt2.training.state import sole_writer
from gpt2.weights.hub import find_directory
from gpt2.weights.vocabulary_files import keep_max_length

HELP = {
    "train": f"what is trained: {', '.join(TRAIN_MODES)}",
    "epochs": "passes over the training rows for the classifier",
    "patience": "stop after so many passes without a better held-out score, 0 = never",
    "lm_epochs": "passes of next-token training on their texts before that",
    "batch_size": "texts in a step, over all processes",
    "lr": "peak learning rate",
    "max_length": "tokens kept of a text",
    "lm_weight": "weight of the next-token loss beside the classifier's",
    "smoothing": "label smoothing, 0 to 1",
    "dropout": "dropout while training",
    "weight_decay": "AdamW's decoupled decay of matrices",
    "average": "decay of the weights' running average, 0 for none",
    "runs": "trainings in other orders of rows whose weights are averaged",
    "seed": "of the split, the order of rows, dropout and the head",
}


def parser() -> argparse.ArgumentParser:
    """Command line, with defaults and units."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = made.add_argument
    add("--data", metavar="DIR", help="holds train.csv and test.csv; if left out, downloaded")
    add("--base", default="mini", metavar="NAME|DIR", help="language model to start from")
    add("--out", required=True, metavar="DIR", help="classifier directory to write")
    for field in fields(FinetuneSettings):
        flag = "--" + field.name.replace("_", "-")
        choices = TRAIN_MODES if field.name == "train" else None
        add(flag, type=field.type, default=field.default, choices=choices, help=HELP[field.name])
    add("--limit", type=int, default=0, metavar="N", help="use N random rows of train.csv, 0 = all")
    add("--baseline", action="store_true", help="measure TF-IDF + linear models on the same rows")
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    add("--save-dtype", choices=("float32", "bfloat16", "float16"), default="float16")
    add("--save-minutes", type=float, default=1.0, help="minutes between states to resume from")
    add("--resume", action="store_true", help="go on from the last saved state, if any")
    add_debug_flag(made)
    return made


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train, measure and write the classifier; returns what metrics.json holds."""
    device = pick_device(args.device)
    check_number("save_minutes", args.save_minutes, 0, MOST)
    settings = FinetuneSettings(**{f.name: getattr(args, f.name) for f in fields(FinetuneSettings)})
    if args.baseline:
        baselines.check_installed()
    out, base = Path(args.out), find_directory(args.base)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; --out takes a directory")
    model, tokenizer = new_classifier(base, settings)
    model.to(device)
    directory = find_data(args.data, device)
    split = read_split(directory, limit=args.limit, seed=settings.seed)
    train, held_out, test = (
        Rows(news, tokenizer, max_length=settings.max_length)
        for news in (split.train, split.held_out, split.test)
    )
    identity = {
        **asdict(settings),
        "limit": args.limit,
        "base": weights.hash_weights(base),
        "train.csv": report.files_of(directory)["train.csv"],
    }
    state = open_state(args, identity, device)
    start = time.perf_counter()
    points = watch(finetune(model, train, held_out, settings, state=state), settings, len(train))
    seconds = time.perf_counter() - start
    metrics = {
        "command": " ".join(args.command),
        "settings": asdict(settings),
        "base": {"name": args.base, "sha256": identity["base"]},
        "data": report.files_of(directory),
        "train_rows": len(train),
        "commit": report.commit(),
        "versions": report.versions(),
        "device": device_name(device),
        "processes": world_size(),
        "train_seconds": seconds,  # of this call, which may have gone on from a saved state
        "train_texts_per_second": None if args.resume else texts_of(points) / seconds,
        **measure(model, held_out, test, split),
    }
    if rank() == 0:
        if args.baseline:
            metrics["baselines"] = list(baselines.measure(split.train, split.test))
        with weights.whole_directory(out) as work:
            weights.save(model, work, vocabulary=base, dtype=getattr(torch, args.save_dtype))
            keep_max_length(work, settings.max_length)
            report.write(work, metrics, points, draw(metrics, points))
        shutil.rmtree(state.directory)
    return metrics


def draw(metrics: dict[str, Any], points: list[dict]) -> dict[str, tuple[bytes, str]]:
    """How the training went, and which classes are confused: PNG files and alt texts by name."""
    curves = figures.TrainingCurves(*map(np.array, report.curves(points)))
    counts = metrics.get("test", metrics["held_out"])["confusion"]
    confusion = figures.ConfusionTable(np.array(counts), AGNEWS_LABELS)
    made: dict[str, figures.Picture] = {"training.png": curves, "confusion.png": confusion}
    return {
        name: (
            figures.to_png(picture.figure(), background=figures.LIGHT.background),
            picture.alt(),
        )
        for name, picture in made.items()
    }


def open_state(args: argparse.Namespace, identity: dict[str, Any], device: torch.device) -> State:
    """OUT.state beside OUT; emptied first unless it is to be resumed from."""
    out = Path(args.out)
    directory = out.with_name(out.name + ".state")
    if not args.resume and rank() == 0:
        shutil.rmtree(directory, ignore_errors=True)
    wait_for_all(device)
    directory.mkdir(parents=True, exist_ok=True)
    return State(directory, identity, resume=args.resume, minutes=args.save_minutes)


def texts_of(points: list[dict]) -> int:
    """Texts read in all stages of a training."""
    return sum({point["stage"]: point["texts"] for point in points}.values())


def find_data(given: str | None, device: torch.device) -> Path:
    """The directory of the CSVs; downloads them if none was given, one process for all."""
    if given:
        return Path(given)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        agnews_files.find_or_download()
    wait_for_all(device)
    return agnews_files.find_or_download()


def new_classifier(base: Path, settings: FinetuneSettings) -> tuple[GPT2Classifier, Tokenizer]:
    """A language model with a fresh head that names AG News's labels, and its vocabulary.

    Raises:
        ValueError: it can't read texts of max_length, or its vocabulary is another model's.
    """
    config = weights.read_config(base)
    if settings.max_length > config.n_ctx:
        raise ValueError(
            f"max_length is {settings.max_length}; {base.name} reads up to {config.n_ctx} tokens"
        )
    tokenizer = load_tokenizer(base, rows=config.vocab_size)
    backbone = weights.load_language_model(base)
    pad = config.pad_token_id
    if pad is None or pad >= config.vocab_size:  # other programs look for the last token before it
        pad = tokenizer.end_id
    backbone.config = replace(backbone.config, labels=AGNEWS_LABELS, pad_token_id=pad)
    torch.manual_seed(settings.seed)
    model = GPT2Classifier(backbone)
    torch.nn.init.normal_(model.score.weight, std=0.02)
    return model, tokenizer


def watch(points: Iterable[dict], settings: FinetuneSettings, rows: int) -> list[dict]:
    """All points of a training, shown as they come in one progress bar over all texts."""
    total = round(rows * (settings.lm_epochs + settings.runs * settings.epochs))
    seen, before = [], 0
    with tqdm(total=total, disable=rank() != 0, unit="text", mininterval=0.5) as bar:
        for point in points:
            if seen and seen[-1]["stage"] != point["stage"]:
                before += seen[-1]["texts"]
            seen.append(point)
            bar.set_description(point["stage"], refresh=False)
            shown = {"loss": f"{point['loss']:.3f}"}
            if "accuracy" in point:
                recent = [p["accuracy"] for p in seen[-20:] if "accuracy" in p]
                shown["accuracy"] = f"{sum(recent) / len(recent):.1%}"
            bar.set_postfix(shown, refresh=False)
            bar.update(before + point["texts"] - bar.n)
            if "held_out" in point:
                found = point["held_out"]
                epoch = math.ceil(point["texts"] / rows)
                bar.write(
                    f"{point['stage']}, epoch {epoch}: {found['accuracy']:.1%} of held-out rows "
                    f"right, {found['nll']:.3f} nats",
                    file=sys.stderr,
                )
    return seen


def measure(model: GPT2Classifier, held_out: Rows, test: Rows, split: Split) -> dict[str, Any]:
    """Scores on held-out rows and on test rows, and texts read a second meanwhile."""
    start, read = time.perf_counter(), len(held_out)
    found = {"held_out": news_scores(model, held_out)}
    if split.has_test:
        found["test"] = news_scores(model, test)
        read += len(test)
    return {**found, "texts_per_second": read / (time.perf_counter() - start)}


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    args = parser().parse_args(argv)
    given = argv if argv is not None else sys.argv[1:]
    args.command = ["python finetune_agnews.py", *(os.path.basename(word) for word in given)]

    def work() -> int:
        with process_group(pick_device(args.device)), sole_writer(args.out):
            metrics, leads = run(args), rank() == 0
        if leads:
            print(report.table(metrics, name=f"this run: {Path(args.base).name}, {args.train}"))
            print(f"written: {args.out} (serve it: python app.py --classifier {args.out})")
        return 0

    return run_training("finetune_agnews.py", work, debug=args.debug, out=args.out)


if __name__ == "__main__":
    sys.exit(main())
