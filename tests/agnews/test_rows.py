"""Batches that hold every row once, and predictions that batching does not change."""

import numpy as np
import pytest
import torch

from gpt2 import weights
from gpt2.agnews.news import News
from gpt2.agnews.rows import Rows, bucketed_batches, pad_right, predict


@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (7, 3), (1000, 4), (999, 1), (5, 8)])
def test_an_epoch_of_batches_holds_every_row_once(count, batch_size):
    lengths = np.random.default_rng(0).integers(1, 99, count)
    batches = bucketed_batches(lengths, batch_size=batch_size, seed=3, epoch=2)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert len(batches) == -(-count // batch_size)
    assert max(len(batch) for batch in batches) <= batch_size


def test_batches_are_a_function_of_seed_and_epoch():
    lengths = np.random.default_rng(0).integers(1, 99, 500)

    def order(seed, epoch):
        batches = bucketed_batches(lengths, batch_size=4, seed=seed, epoch=epoch)
        return np.concatenate(batches).tolist()

    assert order(3, 2) == order(3, 2)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_batches_of_similar_length_pad_little():
    lengths = np.random.default_rng(0).integers(1, 100, 2048)

    def padded(batches):
        return sum(len(batch) * int(lengths[batch].max()) for batch in batches)

    ours = padded(bucketed_batches(lengths, batch_size=16, seed=0, epoch=0))
    unsorted = padded(np.random.default_rng(1).permutation(2048).reshape(-1, 16))
    assert ours < 1.05 * lengths.sum() < 1.6 * lengths.sum() < unsorted


def test_short_batches_do_not_all_come_first():
    lengths = np.arange(640)
    means = [lengths[b].mean() for b in bucketed_batches(lengths, batch_size=10, seed=0, epoch=0)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


def test_padding_stands_on_the_right():
    padded = pad_right([[1, 2, 3], [4], [5, 6]])
    assert padded.tolist() == [
        [1, 2, 3],
        [4, 0, 0],
        [5, 6, 0],
    ]
    assert padded.dtype == np.int64
    assert pad_right([[1], [2, 3]], pad=7).tolist() == [[1, 7], [2, 3]]


# --- predictions -----------------------------------------------------------------------------

TEXTS = ("Oil rose.", "The striker scored twice in the last ten minutes.", "Talks", "A probe.")


@pytest.fixture
def rows(tokenizer):
    return Rows(News(TEXTS, np.array([2, 1, 0, 3])), tokenizer, max_length=8)


def test_rows_keep_the_first_tokens(rows, tokenizer):
    assert len(rows) == 4
    assert rows.ids == [tokenizer.encode(text)[:8] for text in TEXTS]
    assert rows.lengths.tolist() == [len(ids) for ids in rows.ids]


@torch.no_grad()
@pytest.mark.parametrize("times", [1, 100])
def test_predictions_are_those_of_each_text_alone(classifier_directory, tokenizer, rows, times):
    """In one batch and in several, to 1e-5, float32."""
    model = weights.load_classifier(classifier_directory)
    rows = Rows(News(times * TEXTS, np.tile(rows.labels, times)), tokenizer, max_length=8)
    probs = predict(model, rows)
    for ids, found in zip(rows.ids, probs, strict=True):
        alone = model(torch.tensor([ids]), torch.tensor([len(ids)]))[0].softmax(-1).numpy()
        np.testing.assert_allclose(found, alone, atol=1e-5)
