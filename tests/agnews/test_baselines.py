"""gpt2.agnews.baselines: linear models that learn what words tell."""

import json

import numpy as np
import pytest

from gpt2.agnews import baselines
from gpt2.agnews.news import News

pytest.importorskip("sklearn")

WORDS = ("treaty border", "goal striker", "oil shares", "probe planet")


def news(count):
    texts = tuple(f"{WORDS[i % 4]} word{i % 7}" for i in range(count))
    return News(texts, np.arange(count) % 4)


def test_both_baselines_learn_words():
    found = list(baselines.measure(news(80), news(12)))
    assert [one["name"] for one in found] == ["TF-IDF + LinearSVC", "TF-IDF + logistic regression"]
    for one in found:
        assert (one["accuracy"], one["macro_f1"]) == (1, 1)
        assert (one["train_rows"], one["rows"]) == (80, 12)


def test_what_was_not_trained_on_is_not_known():
    test = news(12)
    wrong = News(test.texts, (test.labels + 1) % 4)
    assert [one["accuracy"] for one in baselines.measure(news(80), wrong)] == [0, 0]


def test_the_command_prints_an_object_for_each(tmp_path, capsys):
    rows = "".join(f"{i % 4 + 1},{WORDS[i % 4]},text {i % 7}\n" for i in range(40))
    (tmp_path / "train.csv").write_text(rows)
    (tmp_path / "test.csv").write_text("1,a treaty,signed\n")
    assert baselines.main(["--data", str(tmp_path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["train_rows"] for line in lines] == [38, 38]
    assert baselines.main(["--data", str(tmp_path / "none")]) == 1
    assert "train.csv does not exist" in capsys.readouterr().err
