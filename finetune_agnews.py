"""Fine-tune a GPT-2 to name the topic of AG News texts; alone or under torchrun."""

import sys

from gpt2.ending import end_at_once, raise_interrupts

if __name__ == "__main__":  # before the imports that take a while
    end_at_once("finetune_agnews.py")

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gpt2 import figures
from gpt2.agnews import report
from gpt2.agnews.finetune import Finetuning
from gpt2.agnews.news import AGNEWS_LABELS
from gpt2.agnews.settings import FinetuneRun, FinetuneSettings
from gpt2.command import run_training
from gpt2.devices import pick_device
from gpt2.flags import parser_for, settings_of, typed
from gpt2.training.processes import process_group, rank
from gpt2.training.progress import Point, shown


def draw(metrics: dict[str, Any], points: Sequence[Point]) -> dict[str, tuple[bytes, str]]:
    """How the training went, and which classes are confused: PNG files and alt texts by name."""
    found = report.curves(points)
    numbers = [[point[key] for point in found["curve"]] for key in ("texts", "loss", "accuracy")]
    numbers.append([point["texts"] for point in found["epochs"]])
    numbers.append([point["held_out"]["accuracy"] for point in found["epochs"]])
    curves = figures.TrainingCurves(*map(np.array, numbers))
    counts = metrics.get("test", metrics["held_out"])["confusion"]
    confusion = figures.ConfusionTable(np.array(counts), AGNEWS_LABELS)
    made: dict[str, figures.Picture] = {"training.png": curves, "confusion.png": confusion}
    ground = figures.LIGHT.background
    return {
        name: (figures.to_png(picture.figure(), background=ground), picture.alt())
        for name, picture in made.items()
    }


def tell(points: Sequence[Point]) -> None:
    """Print what the last point's held-out rows say, if they were measured."""
    stage, found = points[-1].stage, points[-1].held_out
    if found is not None:
        epoch = sum(p.stage == stage and p.held_out is not None for p in points)
        said = f"{found['accuracy']:.1%} of held-out rows right, {found['nll']:.3f} nats"
        tqdm.write(f"{stage}, epoch {epoch}: {said}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    args = parser_for(__doc__, FinetuneRun, FinetuneSettings).parse_args(argv)

    def work() -> int:
        device = pick_device(args.device)
        where, settings = settings_of(FinetuneRun, args), settings_of(FinetuneSettings, args)
        with process_group(device, where.out):
            job, leads = Finetuning(settings, where, device), rank() == 0
            for _ in shown(job.train(), total=job.total_texts, unit="text", quiet=not leads):
                if leads:
                    tell(job.points)
            metrics = {"command": typed("python finetune_agnews.py", argv), **job.metrics()}
            if leads:
                job.write(metrics, draw(metrics, job.points))
        if leads:
            name = f"this run: {Path(where.base).name}, {settings.train}"
            print(report.table(metrics, name=name))
            print(f"written: {where.out} (serve it: python app.py --classifier {where.out})")
        return 0

    return run_training("finetune_agnews.py", work, debug=args.debug, out=args.out)


if __name__ == "__main__":
    raise_interrupts()
    sys.exit(main())
