"""gpt2.lens.attribution and faithfulness: against transformers, token by token."""

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2 import lens, weights
from gpt2.config import GPT2Config
from gpt2.lens import Reading, Target
from gpt2.lens.attribution import gradient_x_input, occlusion
from gpt2.lens.blocks import last_state
from gpt2.lens.faithfulness import FRACTIONS, SEEDS
from gpt2.lens.integrated import CLOSE, COMPLETE, integrated_gradients

TOLERANCE = 1e-4
IDS = [5, 17, 0, 96, 17, 17, 3, 42, 88, 61, 5, 30, 7, 8, 9, 10, 5, 44, 2, 1]
T = 18


@pytest.fixture(scope="module")
def pair(tmp_path_factory, make_model, tiny_config, vocabulary):
    model, path = make_model(tiny_config, seed=5), tmp_path_factory.mktemp("hf") / "model"
    weights.save(model, path, vocabulary=vocabulary)
    return model, GPT2LMHeadModel.from_pretrained(path, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def shipped(vocabulary, tokenizer):
    text = (
        "The old man walked down the road to the village. When he came to the bridge he stopped "
        "and looked at the water, for it was cold. He would go no further than the"
    )
    return weights.load_language_model(vocabulary), tokenizer.encode(text)


def theirs_score(theirs, embedded, answer, instead_of):
    logits = theirs(inputs_embeds=embedded[None]).logits[0, -1]
    return logits[answer] - (0 if instead_of is None else logits[instead_of])


QUESTIONS = [(42, None), (42, 7)]


# --- the target ------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "instead_of"), QUESTIONS)
def test_a_target_is_a_logit_or_the_difference_of_two(pair, answer, instead_of):
    target = Target(pair[0], answer, instead_of=instead_of)
    with torch.inference_mode():
        hidden = target.hidden(target.embed(IDS)[None])
        expected = theirs_score(pair[1], pair[1].transformer.wte.weight[IDS], answer, instead_of)
        probs = pair[1](torch.tensor([IDS])).logits[0, -1].softmax(dim=-1)
    assert float(target.logit(hidden)) == pytest.approx(float(expected), abs=TOLERANCE)
    wanted = probs[42] if instead_of is None else probs[42] / (probs[42] + probs[7])
    assert float(target.prob(hidden)) == pytest.approx(float(wanted), abs=1e-5)


def test_a_classifier_is_asked_for_a_class(make_classifier):
    labels = ("a", "b", "c")
    config = GPT2Config(vocab_size=97, n_ctx=24, n_embd=32, n_layer=2, n_head=4, labels=labels)
    model = make_classifier(config)
    with torch.inference_mode():
        logits = model(torch.tensor([IDS]), torch.tensor([len(IDS)]))[0]
        target = Target(model, 2, instead_of=0)
        logit = target.logit(target.hidden(target.embed(IDS)[None]))
        alone = Target(model, 1)
        prob = alone.prob(alone.hidden(alone.embed(IDS)[None]))
    assert float(logit) == pytest.approx(float(logits[2] - logits[0]), abs=TOLERANCE)
    assert float(prob) == pytest.approx(float(logits.softmax(dim=-1)[1]), abs=1e-5)
    *_, found = integrated_gradients(target, IDS)
    assert found.scores.sum() == pytest.approx(found.score - found.empty, rel=COMPLETE, abs=CLOSE)


@pytest.mark.parametrize(("answer", "instead_of"), [(97, None), (-1, None), (3, 97), (3, 3)])
def test_a_target_without_sense_is_refused(pair, answer, instead_of):
    with pytest.raises(ValueError, match=r"not between 0 and 96|compared with itself"):
        Target(pair[0], answer, instead_of=instead_of)


def test_running_on_from_a_beginning_that_was_read_is_running_the_whole(pair):
    model, reading = pair[0], Reading.of(pair[0], IDS)
    for start in (1, 7, len(IDS) - 1):
        changed = torch.tensor([[*IDS[:start], *(n // 2 for n in IDS[start:])], IDS])
        with torch.inference_mode():
            x = model.embed(changed)
            found = last_state(model.h, x[:, start:], reading.streams[:, :start])
            torch.testing.assert_close(found, last_state(model.h, x), atol=1e-4, rtol=1e-4)
            expected = model.hidden(changed)[:, -1]
            torch.testing.assert_close(model.ln_f(found), expected, atol=1e-4, rtol=1e-4)


# --- the methods -----------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "instead_of"), QUESTIONS)
def test_gradient_x_input_equals_that_through_transformers(pair, answer, instead_of):
    model, theirs = pair
    found = gradient_x_input(Target(model, answer, instead_of=instead_of), IDS[:T])
    embedded = theirs.transformer.wte.weight[IDS[:T]].detach().requires_grad_()
    score = theirs_score(theirs, embedded, answer, instead_of)
    (gradient,) = torch.autograd.grad(score, embedded)
    expected = (gradient * embedded).sum(dim=-1).detach().numpy()
    np.testing.assert_allclose(found.scores, expected, atol=TOLERANCE)
    assert found.score == pytest.approx(float(score.detach()), abs=TOLERANCE)


@pytest.mark.parametrize(("answer", "instead_of"), QUESTIONS)
def test_occlusion_equals_one_pass_of_transformers_for_each_token(pair, answer, instead_of):
    model, theirs = pair
    target = Target(model, answer, instead_of=instead_of)
    *_, found = occlusion(target, Reading.of(model, IDS), T)
    table = theirs.transformer.wte.weight
    with torch.inference_mode():
        whole = theirs_score(theirs, table[IDS[:T]], answer, instead_of)
        for t in range(T):
            embedded = table[IDS[:T]].clone()
            embedded[t] = table.mean(dim=0)
            lost = whole - theirs_score(theirs, embedded, answer, instead_of)
            assert found.scores[t] == pytest.approx(float(lost), abs=5e-4)
    assert found.score == pytest.approx(float(whole), abs=TOLERANCE)


def test_occlusion_of_the_last_tokens_has_their_scores_alone(pair, monkeypatch):
    target, reading = Target(pair[0], 42), Reading.of(pair[0], IDS)
    *_, whole = occlusion(target, reading, T)
    monkeypatch.setattr("gpt2.lens.attribution.OCCLUDED_AT_ONCE", 5)
    for part, known in zip(occlusion(target, reading, T), (5, 10, 15, 18), strict=True):
        np.testing.assert_allclose(part.scores[-known:], whole.scores[-known:], atol=1e-5)
        assert np.isnan(part.scores[:-known]).all()
        assert part.steps == known


@pytest.mark.parametrize(("answer", "instead_of"), QUESTIONS)
def test_integrated_gradients_are_complete(pair, answer, instead_of):
    model, theirs = pair
    *_, found = integrated_gradients(Target(model, answer, instead_of=instead_of), IDS[:T])
    table = theirs.transformer.wte.weight
    with torch.inference_mode():
        full = theirs_score(theirs, table[IDS[:T]], answer, instead_of)
        empty = theirs_score(theirs, table.mean(dim=0).expand(T, -1), answer, instead_of)
    assert found.score - found.empty == pytest.approx(float(full - empty), abs=1e-3)
    assert found.scores.sum() == pytest.approx(float(full - empty), rel=COMPLETE, abs=2 * CLOSE)
    gap = abs(found.scores.sum() - (found.score - found.empty))
    assert found.error == pytest.approx(gap / abs(found.score - found.empty), abs=1e-4)


def test_integrated_gradients_take_more_steps_until_they_are_complete(pair, monkeypatch):
    monkeypatch.setattr("gpt2.lens.integrated.STRETCHES", ((0.0, 1.0, 1),))
    target = Target(pair[0], 42)
    *before, found = integrated_gradients(target, IDS[:T])
    assert [part.steps for part in before] == list(range(1, found.steps))
    assert found.steps > 1
    assert found.error <= COMPLETE < min(part.error for part in before)
    monkeypatch.setattr("gpt2.lens.integrated.MOST_STEPS", 1)
    *_, rough = integrated_gradients(target, IDS[:T])
    assert rough.steps == 1
    assert rough.error > COMPLETE


def test_integrated_gradients_of_the_shipped_model_are_complete(shipped):
    model, ids = shipped
    for end in (12, len(ids) - 1):
        *_, found = integrated_gradients(Target(model, ids[end]), ids[:end])
        assert found.error <= COMPLETE
        assert len(found.scores) == end


def test_a_text_of_one_token_is_explained_by_it(pair):
    target, reading = Target(pair[0], 3), Reading.of(pair[0], IDS)
    (lost,) = occlusion(target, reading, 1)
    *_, whole = integrated_gradients(target, IDS[:1])
    assert lost.scores[0] == pytest.approx(whole.score - whole.empty, abs=TOLERANCE)


# --- is it true ------------------------------------------------------------------------------


def test_curves_are_one_pass_of_transformers_for_each_point(pair):
    model, theirs = pair
    scores = {"down": -np.arange(float(T)), "up": np.arange(float(T))}
    *parts, found = lens.faithfulness(Target(model, 42), IDS[:T], scores)
    for part in parts:
        rows = [found.names.index(name) for name in part.names]
        sure = [row for row in rows if found.names[row] != "random order"]
        np.testing.assert_array_equal(part.deletion[: len(sure)], found.deletion[sure])
        np.testing.assert_array_equal(part.insertion[: len(sure)], found.insertion[sure])
    assert [len(part.names) for part in parts] == [1, 2, 3, 3]
    assert found.names == ("down", "up", "random order")
    assert found.fractions == FRACTIONS
    table = theirs.transformer.wte.weight
    orders = [list(range(T)), list(reversed(range(T)))]
    orders += [np.random.default_rng(seed).permutation(T).tolist() for seed in range(SEEDS)]
    curves = np.zeros((len(orders), 2, len(FRACTIONS)))
    with torch.inference_mode():
        for m, order in enumerate(orders):
            for f, fraction in enumerate(FRACTIONS):
                first, rest = order[: round(fraction * T)], order[round(fraction * T) :]
                for kind, gone in enumerate((first, rest)):
                    embedded = table[IDS[:T]].clone()
                    embedded[gone] = table.mean(dim=0)
                    logits = theirs(inputs_embeds=embedded[None]).logits[0, -1]
                    curves[m, kind, f] = logits.softmax(dim=-1)[42]
    expected = np.concatenate([curves[:2], curves[2:].mean(axis=0, keepdims=True)])
    np.testing.assert_allclose(found.deletion, expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.insertion, expected[:, 1], atol=1e-5)
    between = expected[:, 1] - expected[:, 0]
    by_hand = (between[:, 1:] + between[:, :-1]) @ np.diff(FRACTIONS) / 2
    np.testing.assert_allclose(found.areas, by_hand, atol=1e-5)


def test_the_methods_are_truer_than_a_random_order_on_the_shipped_model(shipped):
    model, ids = shipped
    end = len(ids) - 1
    target = Target(model, ids[end])
    scores = {
        "gradient": gradient_x_input(target, ids[:end]).scores,
        "integrated": list(integrated_gradients(target, ids[:end]))[-1].scores,
        "occlusion": list(occlusion(target, Reading.of(model, ids), end))[-1].scores,
    }
    *_, found = lens.faithfulness(target, ids[:end], scores)
    *methods, chance = found.areas
    assert min(methods) > chance


def test_shares_of_another_text_are_refused(pair):
    with pytest.raises(ValueError, match="rollout has 3 shares for 18 tokens"):
        next(lens.faithfulness(Target(pair[0], 3), IDS[:T], {"rollout": np.ones(3)}))
