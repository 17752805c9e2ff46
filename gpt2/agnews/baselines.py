"""What a classifier should beat: TF-IDF and two linear models, trained on the same rows.

`python -m gpt2.agnews.baselines --data DIR` measures them alone. Needs scikit-learn, which nothing
else does.
"""

import sys

from gpt2.ending import end_at_once, raise_interrupts

if __name__ == "__main__":  # before the imports that take a while
    end_at_once("gpt2.agnews.baselines")

import argparse
import importlib.util
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt2.agnews.metrics import metrics_of_guesses
from gpt2.agnews.news import AGNEWS_LABELS, News, read_split
from gpt2.command import run_command
from gpt2.flags import add_debug_flag


def check_installed() -> None:
    """Refuse to begin without scikit-learn.

    Raises:
        ValueError: it is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ValueError(
            "the baselines need scikit-learn; install it with pip install scikit-learn"
        )


def measure(train: News, test: News) -> Iterator[dict[str, Any]]:
    """Train each baseline and yield its name, accuracy, macro_f1 (0 to 1), rows and seconds.

    Words and pairs of words, TF-IDF with sublinear counts; scikit-learn's defaults otherwise, but
    for the regression's C, which held-out rows chose of 1 and 10.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    start = time.perf_counter()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    features, test_features = (
        vectorizer.fit_transform(train.texts),
        vectorizer.transform(test.texts),
    )
    shared = time.perf_counter() - start
    for name, model in (
        ("TF-IDF + LinearSVC", LinearSVC(random_state=0)),
        ("TF-IDF + logistic regression", LogisticRegression(C=10, max_iter=1000)),
    ):
        start = time.perf_counter()
        model.fit(features, train.labels)
        guess = model.predict(test_features)
        found = metrics_of_guesses(guess, test.labels, AGNEWS_LABELS)
        yield {
            "name": name,
            "accuracy": found["accuracy"],
            "macro_f1": found["macro_f1"],
            "train_rows": len(train),
            "rows": len(test),
            "seconds": shared + time.perf_counter() - start,
        }


def main(argv: list[str] | None = None) -> int:
    """Measure the baselines on the rows that finetune_agnews.py trains and measures on."""
    name = "python -m gpt2.agnews.baselines"
    parser = argparse.ArgumentParser(prog=name, description=main.__doc__)
    parser.add_argument("--data", required=True, metavar="DIR", help="holds train.csv and test.csv")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="N random rows, 0 = all")
    parser.add_argument("--seed", type=int, default=0, help="of the split (0)")
    add_debug_flag(parser)
    args = parser.parse_args(argv)

    def work() -> int:
        check_installed()
        split = read_split(Path(args.data), limit=args.limit, seed=args.seed)
        for found in measure(split.train, split.test):
            print(json.dumps(found), flush=True)
        return 0

    return run_command("gpt2.agnews.baselines", work, debug=args.debug)


if __name__ == "__main__":
    raise_interrupts()
    sys.exit(main())
