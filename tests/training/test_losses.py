"""gpt2.training.losses: the loss computed in pieces is the loss."""

import pytest
import torch
from torch.nn import functional as F

from gpt2.training.losses import IGNORE, _chunk, head_loss

TOLERANCE = 1e-5  # float32, values and gradients of size about 1


@pytest.fixture
def batch():
    """Hidden states, embedding and targets of 3 x 11 tokens, a third of them not counted."""
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(3, 11, 16, generator=generator, requires_grad=True)
    weight = torch.randn(53, 16, generator=generator, requires_grad=True)
    targets = torch.randint(53, (3, 11), generator=generator)
    targets[torch.rand(3, 11, generator=generator) < 0.33] = IGNORE
    return hidden, weight, targets


def gradients(loss, *inputs):
    return torch.autograd.grad(loss, inputs)


def plain_loss(hidden, weight, targets):
    logits = F.linear(hidden, weight).flatten(0, 1)
    return F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORE)


@pytest.mark.parametrize("chunk_size", [1, 7, 11, 33, 4096])
def test_value_and_both_gradients_equal_cross_entropy(batch, chunk_size):
    hidden, weight, _targets = batch
    ours, theirs = head_loss(*batch, chunk_size=chunk_size), plain_loss(*batch)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)
    pairs = zip(gradients(ours, hidden, weight), gradients(theirs, hidden, weight), strict=True)
    for mine, expected in pairs:
        torch.testing.assert_close(mine, expected, atol=TOLERANCE, rtol=0)


def test_a_factor_on_the_loss_reaches_both_gradients(batch):
    hidden, weight, _ = batch
    once = gradients(head_loss(*batch), hidden, weight)
    thrice = gradients(3 * head_loss(*batch), hidden, weight)
    for one, three in zip(once, thrice, strict=True):
        torch.testing.assert_close(three, 3 * one, atol=TOLERANCE, rtol=0)


def test_what_is_not_counted_gets_no_gradient(batch):
    hidden, _, targets = batch
    (gradient,) = gradients(head_loss(*batch), hidden)
    assert (gradient[targets == IGNORE] == 0).all()
    assert (gradient[targets != IGNORE].abs().sum(-1) > 0).all()


def test_nothing_counted_is_a_loss_of_zero_and_no_gradient(batch):
    hidden, weight, targets = batch
    loss = head_loss(hidden, weight, torch.full_like(targets, IGNORE))
    assert float(loss.detach()) == 0
    for gradient in gradients(loss, hidden, weight):
        assert (gradient == 0).all()


def test_scores_of_a_thousand_do_not_overflow(batch):
    hidden, weight, targets = batch
    inputs = (1000 * hidden, weight, targets)
    ours, theirs = head_loss(*inputs), plain_loss(*inputs)
    torch.testing.assert_close(ours, theirs, atol=0, rtol=1e-5)


@torch.no_grad()
def test_rows_that_pad_the_vocabulary_take_no_probability(batch):
    hidden, weight, targets = batch
    rows, targets, scale = hidden.flatten(0, 1), targets.flatten(), torch.tensor(0.1)
    padded = F.pad(weight, (0, 0, 0, 11), value=9.0)
    plain = _chunk(rows, weight, targets, 53, scale)
    loss, d_rows, d_weight = _chunk(rows, padded, targets, 53, scale)
    torch.testing.assert_close(loss, plain[0], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(d_rows, plain[1], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(d_weight[:53], plain[2], atol=TOLERANCE, rtol=0)
    assert (d_weight[53:] == 0).all()


def test_a_model_learns_as_with_plain_cross_entropy(tiny_model):
    """The gradient reaches the embedding twice, as input and as head; neither may be lost."""
    ids = torch.tensor([[4, 8, 15, 16, 23, 42, 8, 4]])
    inputs, targets = ids[:, :-1], ids[:, 1:]
    weight = tiny_model.wte.weight
    (ours,) = gradients(head_loss(tiny_model.hidden(inputs), weight, targets), weight)
    logits = tiny_model(inputs).flatten(0, 1)
    (theirs,) = gradients(F.cross_entropy(logits, targets.flatten()), weight)
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE * float(theirs.abs().max()), rtol=0)


def test_parts_divided_by_the_whole_add_up_to_the_whole(batch):
    """What several processes do with uneven shares of a batch."""
    hidden, weight, targets = batch
    total = int((targets != IGNORE).sum())
    whole = head_loss(*batch)
    parts = [
        head_loss(hidden[part], weight, targets[part], total=total)
        for part in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(parts), whole, atol=TOLERANCE, rtol=0)
    for mine, expected in zip(
        gradients(sum(parts), hidden, weight), gradients(whole, hidden, weight), strict=True
    ):
        torch.testing.assert_close(mine, expected, atol=TOLERANCE, rtol=0)
