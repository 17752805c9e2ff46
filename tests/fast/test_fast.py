"""gpt2.fast: the same model, sooner."""

import pytest
import torch

from gpt2 import fast, weights
from gpt2.generate import generate
from gpt2.sampling import Sampling

IDS = [5, 17, 0, 96, 17, 3, 42]


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    """torch with one, two or three threads; of three two are used, for 32 columns."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_a_prepared_model_says_the_same(make_model, tiny_config, threads):
    plain, ours = make_model(tiny_config, seed=5), make_model(tiny_config, seed=5)
    prepared = fast.prepare(ours)
    assert isinstance(prepared, fast.CPUModel)
    assert not prepared.training
    assert prepared.wte.weight.stride() == (1, tiny_config.vocab_size)
    assert prepared.h[0].mlp.c_fc.weight.stride() == (1, 4 * tiny_config.n_embd)
    assert prepared.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(prepared.state_dict()[name], value), name
    with torch.inference_mode():
        for ids in ([IDS], [IDS[:1]], [IDS, IDS[::-1]], [IDS[:1], IDS[1:2]]):
            found, expected = (model(torch.tensor(ids)) for model in (prepared, plain))
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    said = [
        [step.id for step in generate(model, IDS, Sampling(temperature=0), max_new_tokens=12)]
        for model in (plain, prepared)
    ]
    assert said[0] == said[1]


def test_gradients_go_through_a_prepared_model(make_model, tiny_config):
    plain = make_model(tiny_config, seed=5)
    prepared = fast.prepare(make_model(tiny_config, seed=5))
    gradients = []
    for model in (plain, prepared):
        x = model.embed(torch.tensor([IDS[:1]])).detach().requires_grad_()
        model.logits(model.ln_f(model.h[0](x)))[0, -1, 3].backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_other_number_types_stay_as_they_are(make_model, tiny_config):
    model = make_model(tiny_config).bfloat16()
    assert fast.prepare(model) is model


def test_what_the_library_holds_is_prepared_and_can_be_saved(tmp_path, engine, vocabulary):
    library = engine.library
    model = library.get(library.catalog.models[0]).backbone
    classifier = library.get(library.catalog.classifiers[0])
    assert isinstance(model, fast.CPUModel)
    assert classifier.classifier.transformer is classifier.backbone
    assert isinstance(classifier.backbone, fast.CPUModel)
    weights.save(model, tmp_path / "again", vocabulary=vocabulary)
    again = weights.load_language_model(tmp_path / "again")
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
