"""Fine-tune a GPT-2 to name the topic of AG News texts; alone or under torchrun."""

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
from tqdm import tqdm

from gpt2 import weights
from gpt2.classifier import GPT2Classifier
from gpt2.data import AGNEWS_LABELS, read_agnews, split_news
from gpt2.finetune import (
    TRAIN_MODES,
    FinetuneSettings,
    Rows,
    finetune,
    predict,
    scores,
)
from gpt2.library import find_directory
from gpt2.model import GPT2
from gpt2.tokenizer import Tokenizer
from gpt2.training import pick_device, process_group, rank

HELP = {
    "train": f"what is trained: {', '.join(TRAIN_MODES)}",
    "epochs": "passes over the training rows for the classifier",
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
    add("--data", required=True, metavar="DIR", help="holds train.csv and test.csv")
    add("--base", default="mini", metavar="NAME|DIR", help="language model to start from")
    add("--out", required=True, metavar="DIR", help="classifier directory to write")
    for field in fields(FinetuneSettings):
        flag = "--" + field.name.replace("_", "-")
        choices = TRAIN_MODES if field.name == "train" else None
        add(flag, type=field.type, default=field.default, choices=choices, help=HELP[field.name])
    add("--limit", type=int, default=0, metavar="N", help="use the first N training rows, 0 = all")
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    add("--save-dtype", choices=("float32", "bfloat16", "float16"), default="float16")
    add("--resume", action="store_true", help="go on from the last finished epoch, if any")
    return made


def run(args: argparse.Namespace) -> dict:
    """Train, measure and write the classifier; returns what metrics.json holds."""
    device = pick_device(args.device)
    torch.manual_seed(args.seed)
    settings = FinetuneSettings(**{f.name: getattr(args, f.name) for f in fields(FinetuneSettings)})
    base = find_directory(args.base)
    news = read_agnews(Path(args.data) / "train.csv")
    if args.limit:
        news = news.take(range(min(args.limit, len(news))))
    train, held_out = split_news(news, held_out=max(1, len(news) // 20), seed=args.seed)
    tokenizer = Tokenizer(base)
    rows = Rows(train, tokenizer, max_length=args.max_length)
    held_out_rows = Rows(held_out, tokenizer, max_length=args.max_length)
    model = GPT2Classifier(load_base(base)).to(device)
    torch.nn.init.normal_(model.score.weight, std=0.02)

    out = Path(args.out)
    state = out.with_name(out.name + ".state")
    start = time.perf_counter()
    epochs = []
    with tqdm(disable=rank() != 0, unit="step", mininterval=2) as bar:
        for progress in finetune(
            model, rows, held_out_rows, settings, state=state, resume=args.resume
        ):
            bar.total = progress.steps
            bar.n = progress.report.step
            bar.set_description(progress.stage)
            bar.set_postfix(loss=f"{progress.report.loss:.3f}")
            if progress.held_out:
                epochs.append({"step": progress.report.step, **progress.held_out})
                bar.write(json.dumps(epochs[-1]))
    metrics = {
        "command": " ".join(args.command),
        "settings": asdict(settings),
        "train_rows": len(train),
        "seconds": time.perf_counter() - start,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "epochs": epochs,
        "held_out": scores(predict(model, held_out_rows), held_out_rows.labels),
    }
    test = Path(args.data) / "test.csv"
    if test.is_file():
        test_rows = Rows(read_agnews(test), tokenizer, max_length=args.max_length)
        metrics["test"] = scores(predict(model, test_rows), test_rows.labels)
    if rank() == 0:
        weights.save(model, out, vocabulary=base, dtype=getattr(torch, args.save_dtype))
        (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        shutil.rmtree(state)
    return metrics


def load_base(directory: Path) -> GPT2:
    """The language model to start from, its config naming AG News's labels."""
    model = weights.load_language_model(directory)
    model.config = replace(model.config, labels=AGNEWS_LABELS)
    return model


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    args = parser().parse_args(argv)
    given = argv if argv is not None else sys.argv[1:]
    args.command = ["python finetune_agnews.py", *(os.path.basename(word) for word in given)]
    try:
        with process_group(pick_device(args.device)):
            metrics, leads = run(args), rank() == 0
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"finetune_agnews.py: {error}", file=sys.stderr)
        return 1
    if leads:
        print(json.dumps(metrics, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
