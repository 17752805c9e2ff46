"""News classified by several processes, in parts that are kept as they come: for gpt2.evaluate."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from gpt2 import fast, weights
from gpt2.agnews.news import News, read_agnews
from gpt2.agnews.rows import Rows, predict
from gpt2.classifier import GPT2Classifier
from gpt2.command import sentence
from gpt2.engine.cluster import fitting, iterated_apart, start_ray, stop_ray
from gpt2.tokenizer import load_tokenizer
from gpt2.weights.atomic import sole_writer

PART = 512  # rows
JOB_FILE = "job.json"


@dataclass(frozen=True)
class Job:
    """What is classified, and how.

    Args:
        directory: of the classifier.
        path: of the CSV; both are the same on all machines.
        max_length: tokens read of a text.
        device: cpu, cuda or mps.
        dtype: number type of the weights, as torch calls it.
    """

    directory: str
    path: str
    max_length: int
    device: str
    dtype: str

    def classifier(self) -> GPT2Classifier:
        """The model, loaded.

        Raises:
            FileNotFoundError, ValueError: it can't be.
        """
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        read_in = fast.computed_in(dtype, device)
        model = weights.load_classifier(self.directory, device=device, dtype=read_in)
        model.transformer = fast.reader(fast.stored(model.transformer, dtype))
        return model

    def predict(self, model: GPT2Classifier, news: News) -> np.ndarray:
        """[N, C], the probabilities of all of the model's labels."""
        rows_of_vocabulary = model.transformer.config.vocab_size
        tokenizer = load_tokenizer(self.directory, rows=rows_of_vocabulary)
        return predict(model, Rows(news, tokenizer, max_length=self.max_length))


class Worker:
    """One of the processes: it loads the model once, and then takes part after part."""

    def __init__(self, job: Job, threads: int) -> None:
        torch.set_num_threads(threads)
        self._job, self._model, self._news = job, job.classifier(), read_agnews(job.path)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The rows of a part that begins at batch["first"], and their probabilities."""
        first = int(batch["first"][0])
        rows = np.arange(first, min(first + PART, len(self._news)))
        return {"row": rows, "probs": self._job.predict(self._model, self._news.take(rows))}


def classify(
    job: Job,
    count: int,
    *,
    workers: int,
    out: Path | None = None,
    shown: Callable[..., Iterable[tuple[int, np.ndarray]]],
) -> np.ndarray:
    """[N, C], the probabilities of all rows, each once whatever becomes of a worker.

    Args:
        count: N, rows of the file.
        out: where parts are kept; what an earlier run of the same job left there is not done again.
        shown: passes the parts on, of which there are `total`, and shows how far they are.

    Raises:
        ValueError: Ray is missing, out belongs to another job, or a worker failed.
    """
    with nullcontext() if out is None else sole_writer(out):
        firsts = range(0, count, PART)
        kept = {} if out is None else read_parts(out, job)
        missing = [first for first in firsts if first not in kept]
        if missing:
            answered = answers(job, missing, workers=workers)
            for first, probs in shown(answered, total=len(missing)):
                kept[first] = probs
                if out is not None:
                    keep_part(out, first, probs)
    return np.concatenate([kept[first] for first in firsts])


def answers(job: Job, firsts: list[int], *, workers: int) -> Iterator[tuple[int, np.ndarray]]:
    """First row and probabilities of each part, in any order."""
    own = start_ray("--workers", "ray[data]")
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    share = ray.cluster_resources().get("CPU", 1) / workers
    gpus = ray.cluster_resources().get("GPU", 0) / workers if job.device == "cuda" else 0
    parts = ray.data.from_items(
        [{"first": first} for first in firsts], override_num_blocks=len(firsts)
    )
    answered = parts.map_batches(
        Worker,
        fn_constructor_args=(job, max(1, int(share))),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(firsts))),
        num_cpus=fitting(share),
        num_gpus=fitting(gpus) if gpus else None,
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # by now it has chosen another level
    try:
        batches = answered.iter_batches(batch_size=None, prefetch_batches=0)
        for part in iterated_apart(batches):
            begins = np.flatnonzero(part["row"] % PART == 0)
            for probs, first in zip(
                np.split(part["probs"], begins[1:]), part["row"][begins], strict=True
            ):
                yield int(first), probs
    except ray.exceptions.RayTaskError as error:
        raise ValueError(sentence(error.cause)) from None
    finally:
        if not isinstance(sys.exc_info()[1], SystemExit):  # then all that was started is ended
            stop_ray(own)


def read_parts(out: Path, job: Job) -> dict[int, np.ndarray]:
    """The parts that are kept in a directory, by their first row; an empty one is made ready.

    Raises:
        ValueError: they are of another job.
    """
    weights_hash = weights.hash_weights(Path(job.directory))
    about = {**asdict(job), "weights": weights_hash, "data": weights.hash_file(Path(job.path))}
    about |= {"directory": Path(job.directory).name, "path": Path(job.path).name, "part": PART}
    out.mkdir(parents=True, exist_ok=True)
    path = out / JOB_FILE
    if not path.exists():
        if any(out.iterdir()):
            raise ValueError(f"{out} holds other files; --out takes a new or empty directory")
        path.write_text(json.dumps(about, indent=2) + "\n")
    found = json.loads(path.read_text())
    other = [name for name in about if found.get(name) != about[name]]
    if other:
        raise ValueError(f"{out} was begun with another {', '.join(other)}; take another --out")
    return {int(part.stem.removeprefix("rows-")): np.load(part) for part in out.glob("rows-*.npy")}


def keep_part(out: Path, first: int, probs: np.ndarray) -> None:
    """Write a part, whole or not at all."""
    scratch = out / "part.partial"
    with open(scratch, "wb") as file:
        np.save(file, probs)
    os.replace(scratch, out / f"rows-{first:08d}.npy")
