"""gpt2.fast: the same model, sooner."""

import torch

from gpt2 import fast, weights
from gpt2.generate import generate
from gpt2.sampling import Sampling

IDS = [5, 17, 0, 96, 17, 3, 42]


def test_a_prepared_model_says_the_same(make_model, tiny_config):
    plain, prepared = (make_model(tiny_config, seed=5) for _ in range(2))
    fast.prepare(prepared)
    assert prepared.wte.weight.stride() == (1, tiny_config.vocab_size)
    assert prepared.h[0].mlp.c_fc.weight.stride() == (1, 4 * tiny_config.n_embd)
    for name, value in plain.state_dict().items():
        assert torch.equal(prepared.state_dict()[name], value), name
    with torch.inference_mode():
        ids = torch.tensor([IDS])
        torch.testing.assert_close(prepared(ids), plain(ids), atol=1e-5, rtol=1e-5)
    said = [
        [step.id for step in generate(model, IDS, Sampling(temperature=0), max_new_tokens=12)]
        for model in (plain, prepared)
    ]
    assert said[0] == said[1]


def test_what_the_library_holds_is_prepared_and_can_be_saved(tmp_path, engine, vocabulary):
    model = engine.library.get(engine.library.models[0]).backbone
    assert model.wte.weight.stride(0) == 1
    weights.save(model, tmp_path / "again", vocabulary=vocabulary)
    again = weights.load_language_model(tmp_path / "again")
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
