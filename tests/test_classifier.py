"""gpt2.classifier: one answer for a text, whatever stands beside or after it."""

from dataclasses import replace

import pytest
import torch

from gpt2 import weights
from gpt2.classifier import GPT2Classifier
from gpt2.model import GPT2

TOLERANCE = 3e-5  # float32, sums in another order
LENGTHS = torch.tensor([7, 1, 12, 4])


@pytest.fixture(scope="module")
def model(tiny_config, make_classifier):
    return make_classifier(replace(tiny_config, labels=("a", "b", "c")))


@pytest.fixture(scope="module")
def rows():
    """Four texts of LENGTHS tokens, none of which is 0."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(1, 97, (int(n),), generator=generator) for n in LENGTHS]


def padded(rows, *, pad, width=12):
    batch = torch.full((len(rows), width), pad)
    for i, row in enumerate(rows):
        batch[i, : len(row)] = row
    return batch


@torch.no_grad()
def alone(model, rows):
    """Answers for each text by itself, with no padding."""
    return torch.cat([model(row[None], torch.tensor([len(row)])) for row in rows])


@torch.no_grad()
@pytest.mark.parametrize("pad", [0, 1, 55, 96])
@pytest.mark.parametrize("width", [12, 24])
def test_the_answer_does_not_depend_on_padding_or_neighbours(model, rows, pad, width):
    batch = model(padded(rows, pad=pad, width=width), LENGTHS)
    torch.testing.assert_close(batch, alone(model, rows), atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_the_answer_does_not_depend_on_the_order_of_the_batch(model, rows):
    order = torch.tensor([2, 0, 3, 1])
    shuffled = model(padded(rows, pad=0)[order], LENGTHS[order])
    torch.testing.assert_close(shuffled, alone(model, rows)[order], atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_the_answer_is_read_at_the_last_real_token(model, rows):
    """One token more or less is another text, so each length must give another answer."""
    batch = padded(rows[2:3], pad=0)
    answers = torch.cat([model(batch, torch.tensor([n])) for n in (10, 11, 12)])
    assert (answers[0] - answers[1]).abs().max() > 0.01
    assert (answers[1] - answers[2]).abs().max() > 0.01


@torch.no_grad()
def test_per_token_row_t_is_the_answer_for_the_text_up_to_t(model, rows):
    for row in rows:
        prefixes = [row[: t + 1] for t in range(len(row))]
        shown = model.per_token(row[None])[0]
        torch.testing.assert_close(shown, alone(model, prefixes), atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_read_takes_the_backbones_output_for_granted(model, rows):
    batch = padded(rows, pad=3)
    hidden = model.transformer.hidden(batch)
    torch.testing.assert_close(model.read(hidden, LENGTHS), model(batch, LENGTHS), atol=0, rtol=0)


@pytest.mark.parametrize("labels", [(), ("only",)])
def test_fewer_than_two_labels_are_refused(tiny_config, labels):
    with pytest.raises(ValueError, match="at least 2 labels"):
        GPT2Classifier(GPT2(replace(tiny_config, labels=labels)))


@torch.no_grad()
def test_answers_equal_transformers_on_the_same_directory(classifier_directory, tokenizer):
    from transformers import GPT2ForSequenceClassification

    theirs = GPT2ForSequenceClassification.from_pretrained(classifier_directory).eval()
    ours = weights.load_classifier(classifier_directory)
    texts = ["Oil hits a record.", "Cup final", "A probe lands on Titan, and sends pictures home."]
    rows = [torch.tensor(tokenizer.encode(text)) for text in texts]
    lengths = torch.tensor([len(row) for row in rows])
    batch = padded(rows, pad=theirs.config.pad_token_id, width=int(lengths.max()) + 3)
    mask = (torch.arange(batch.size(1)) < lengths[:, None]).long()
    expected = theirs(batch, attention_mask=mask).logits
    torch.testing.assert_close(ours(batch, lengths), expected, atol=1e-4, rtol=0)
    assert tuple(theirs.config.id2label[i] for i in range(4)) == ours.transformer.config.labels


@torch.no_grad()
def test_the_shipped_classifier_equals_transformers(root, tokenizer):
    directory = root / "checkpoints" / "mini-agnews"
    if not (directory / weights.WEIGHTS_FILE).is_file():
        pytest.skip("checkpoints/mini-agnews has no model.safetensors yet")
    from transformers import GPT2ForSequenceClassification

    theirs = GPT2ForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    ids = torch.tensor([tokenizer.encode("Stocks fell as oil prices rose again on Monday.")])
    ours = weights.load_classifier(directory)(ids, torch.tensor([ids.size(1)]))
    torch.testing.assert_close(ours, theirs(ids).logits, atol=1e-4, rtol=0)
