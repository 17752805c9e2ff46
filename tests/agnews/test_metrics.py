"""gpt2.agnews.metrics: the figures of scikit-learn, where it has them, and of the definition."""

import numpy as np
import pytest

from gpt2.agnews.metrics import calibration_error, metrics_of, metrics_of_guesses

NAMES = ("World", "Sports", "Business", "Sci/Tech")


@pytest.fixture
def answers():
    """Probabilities of 500 rows, right more often than not, and the labels."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 500)
    logits = generator.normal(size=(500, 4)) + 1.5 * np.eye(4)[labels]
    probs = np.exp(logits)
    return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32), labels


def test_scores_are_those_of_scikit_learn(answers):
    metrics = pytest.importorskip("sklearn.metrics")
    probs, labels = answers
    found = metrics_of(probs, labels, NAMES)
    guess = probs.argmax(axis=1)
    report = metrics.classification_report(labels, guess, target_names=NAMES, output_dict=True)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, guess))
    assert found["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert found["nll"] == pytest.approx(metrics.log_loss(labels, probs), rel=1e-5)
    assert found["confusion"] == metrics.confusion_matrix(labels, guess).tolist()
    for name in NAMES:
        one, theirs = found["per_class"][name], report[name]
        assert one["precision"] == pytest.approx(theirs["precision"])
        assert one["recall"] == pytest.approx(theirs["recall"])
        assert one["f1"] == pytest.approx(theirs["f1-score"])
        assert one["rows"] == theirs["support"]


def test_a_class_that_is_neither_there_nor_named_scores_zero():
    found = metrics_of_guesses(np.array([0, 1]), np.array([0, 1]), NAMES)
    assert found["per_class"]["Business"] == {"precision": 0, "recall": 0, "f1": 0, "rows": 0}
    assert found["accuracy"] == 1


@pytest.mark.parametrize(
    ("guess", "labels"),
    [([0, 1], [0, 1]), ([0, 0, 2], [0, 1, 0]), ([3, 3], [3, 3]), ([1, 2], [0, 0])],
)
def test_macro_f1_of_a_file_without_some_classes_is_scikit_learns(guess, labels):
    """Two of four classes, all named right, were 0.5."""
    metrics = pytest.importorskip("sklearn.metrics")
    found = metrics_of_guesses(np.array(guess), np.array(labels), NAMES)
    expected = metrics.f1_score(labels, guess, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected)
    assert found["macro_f1_classes"] == len({*guess, *labels})


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    """Two bins: 2 rows at 0.99 of which 1 is right, 2 at 0.61 of which both are."""
    probs = np.array([[0.99, 0.01], [0.99, 0.01], [0.61, 0.39], [0.61, 0.39]])
    labels = np.array([0, 1, 0, 0])
    expected = 0.5 * abs(0.99 - 0.5) + 0.5 * abs(0.61 - 1)
    assert calibration_error(probs, labels) == pytest.approx(expected)


def test_confidence_one_is_counted():
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([1])) == 1
