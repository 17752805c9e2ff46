"""cpu.cpp: a text has the same bits alone or beside others, read at once or in parts."""

import ctypes
import logging
import math
import platform
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from gpt2 import fast
from gpt2.config import GPT2Config
from gpt2.fast import Draw, Feed, NativeDecoder, build, native, native_model
from gpt2.lens import Scales, scaled_model
from gpt2.prediction import describe
from gpt2.sampling import Sampling, distribution, draw, uniform

if fast.library() is None:
    pytest.skip("no C++ compiler here", allow_module_level=True)

CONFIG = GPT2Config(vocab_size=997, n_ctx=64, n_embd=72, n_layer=3, n_head=3)
WIDE = replace(CONFIG, n_embd=400, n_layer=1, n_head=4)  # its products go in several goes


@pytest.fixture(scope="module")
def decoder(make_model):
    return NativeDecoder(make_model(CONFIG, seed=2))


@pytest.fixture(scope="module", params=[CONFIG, WIDE], ids=["narrow", "wide"])
def config(request):
    return request.param


@pytest.fixture(scope="module", params=["float32", "bfloat16", "int8"])
def any_decoder(request, config, make_model):
    model = make_model(config, seed=2)
    return NativeDecoder(fast.stored(model, getattr(torch, request.param)))


@pytest.fixture(scope="module")
def texts():
    random = np.random.default_rng(0)
    return [random.integers(0, CONFIG.vocab_size, n).tolist() for n in (1, 2, 5, 9, 17, 33, 60, 64)]


def logits_of(decoder, ids, *cuts):
    """After every token of a text that is read in parts which end at the cuts."""
    cache, ends = decoder.cache(len(ids)), [*cuts, len(ids)]
    parts = zip([0, *ends], ends, strict=False)
    return torch.cat([decoder.read([Feed(cache, ids[a:b], b - a)]) for a, b in parts])


def test_the_logits_are_the_modules(decoder, texts):
    for ids in texts:
        with torch.inference_mode():
            expected = decoder.model(torch.tensor([ids]))[0]
        torch.testing.assert_close(logits_of(decoder, ids), expected, atol=1e-4, rtol=0)


def test_int8_multiplies_with_numbers_rounded_to_16_bits(config, make_model, texts):
    model = fast.stored(make_model(config, seed=2), torch.int8)
    decoder = NativeDecoder(model)
    for ids in texts:
        with torch.inference_mode():
            expected = model(torch.tensor([ids]))[0]
        found = logits_of(decoder, ids)
        assert (found - expected).abs().max() < 2e-3 * expected.abs().max()


def test_a_row_with_a_number_that_is_none_is_all_none(make_model):
    model = make_model(CONFIG, seed=2)
    model.h[1].mlp.c_fc.bias.data[5] = math.nan
    for dtype in (torch.float32, torch.int8):
        assert logits_of(NativeDecoder(fast.stored(model, dtype)), [1, 2, 3]).isnan().all()


def test_a_text_in_parts_is_the_text_at_once(any_decoder, texts):
    random = np.random.default_rng(1)
    for ids in texts[1:]:
        whole = logits_of(any_decoder, ids)
        assert torch.equal(logits_of(any_decoder, ids, *range(1, len(ids))), whole)
        for _ in range(8):
            cuts = sorted(set(random.integers(1, len(ids), 3).tolist()))
            assert torch.equal(logits_of(any_decoder, ids, *cuts), whole)


def test_texts_read_together_are_as_alone(any_decoder, texts):
    alone = [logits_of(any_decoder, ids)[-1] for ids in texts]
    caches = [any_decoder.cache(len(ids)) for ids in texts]
    together = any_decoder.read([Feed(c, ids) for c, ids in zip(caches, texts, strict=True)])
    assert torch.equal(together, torch.stack(alone))


def test_a_token_of_many_texts_is_as_alone(any_decoder, texts):
    """As they are written: one row each, up to more than a tile of the product has."""
    for count in range(1, 20):
        chosen = [texts[i % len(texts)][: 1 + i] for i in range(count)]
        alone = [logits_of(any_decoder, ids)[-1] for ids in chosen]
        caches = [any_decoder.cache(len(ids)) for ids in chosen]
        fed = [Feed(c, ids[:-1], 0) for c, ids in zip(caches, chosen, strict=True) if ids[:-1]]
        any_decoder.read(fed)
        rows = [Feed(c, ids[-1:]) for c, ids in zip(caches, chosen, strict=True)]
        assert torch.equal(any_decoder.read(rows), torch.stack(alone))


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_the_number_of_threads_changes_no_bit(decoder, texts, threads, tmp_path, monkeypatch):
    twin = shutil.copy(fast.library()._name, tmp_path / "twin.so")  # with threads of its own
    monkeypatch.setattr(native, "library", lambda: ctypes.CDLL(str(twin)))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    other = NativeDecoder(decoder.model)
    torch.set_num_threads(before)
    assert torch.equal(logits_of(other, texts[-1]), logits_of(decoder, texts[-1]))


OLDER = pytest.param(("-march=x86-64",), marks=pytest.mark.soak)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("-mno-avx512f", "-mtune=znver3"), OLDER])
def test_for_other_processors_the_bits_are_as_even(
    flags, any_decoder, texts, tmp_path, monkeypatch
):
    """Tuned for some, GCC rounds a product before it is added in one place and not in another.

    pytest -n 0 -m soak tests/fast has it for processors without AVX too.
    """
    if platform.machine() != "x86_64":
        pytest.skip("no processor of that kind")
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, *flags))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent))  # one for all number types
    other = build.library.__wrapped__()
    monkeypatch.setattr(native, "library", lambda: other)
    decoder = NativeDecoder(any_decoder.model)
    whole = logits_of(decoder, texts[-1])
    assert torch.equal(logits_of(decoder, texts[-1], *range(1, 20), 33), whole)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 6), ("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 6), (None, 6)],
)
def test_a_container_may_use_fewer_cores_than_the_machine_has(
    limit, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(native_model, "CPU_LIMIT", tmp_path / "cpu.max")
    if limit:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert native_model.cores() == expected


def test_random_numbers_are_numpys(decoder):
    """Of 997 tokens alike the drawn one tells the number."""
    logits = torch.zeros(1, CONFIG.vocab_size)
    for seed in (0, 1, 7, 2**31 - 1):
        for length in (0, 1, 63, 1023):
            drawn = Draw(Sampling(temperature=1, top_k=0, seed=seed), [3] * length)
            (step,) = decoder.choose(logits, [drawn])
            assert step.id == int(uniform(seed, length) * CONFIG.vocab_size)


SETTINGS = {
    "temperature": (0, 1e-5, 0.3, 0.8, 1, 1.7, 10),
    "top_k": (0, 1, 2, 40, 996, 997, 5000),
    "top_p": (0, 0.1, 0.5, 0.95, 1),
    "min_p": (0, 0.02, 0.5, 1),
    "repetition_penalty": (1, 0.7, 1.3, 5),
}


@pytest.mark.parametrize("seed", range(6))
def test_a_choice_is_the_one_of_sampling(decoder, seed):
    """Over random logits and settings; with some that tie, some that are -inf."""
    random = np.random.default_rng(seed)
    for trial in range(60):
        logits = torch.tensor(random.normal(0, 4, (1, CONFIG.vocab_size)), dtype=torch.float32)
        if trial % 3 == 0:
            logits = logits.round()
        if trial % 5 == 0:
            logits[0, random.integers(0, CONFIG.vocab_size, 500)] = -math.inf
        picked = {name: random.choice(values).item() for name, values in SETTINGS.items()}
        sampling = Sampling(**picked, seed=trial)
        seen = random.integers(0, CONFIG.vocab_size, 30).tolist()
        (found,) = decoder.choose(logits, [Draw(sampling, seen)])
        probs = distribution(logits[0], sampling, torch.tensor(seen))
        token = draw(probs, uniform(sampling.seed, len(seen)))
        ties = trial % 3 == 0  # whose order is free where not all of them are kept
        if not ties:
            assert found.id == token, picked
        expected = describe(logits[0], probs, found.id)
        assert found.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert found.entropy == pytest.approx(expected.entropy, abs=1e-4)
        assert found.rank == expected.rank
        if not ties:
            assert found.sampled_prob == pytest.approx(expected.sampled_prob, abs=1e-4), picked
            assert found.top_ids == expected.top_ids
            assert found.top_sampled_probs == pytest.approx(expected.top_sampled_probs, abs=1e-4)
        assert found.top_probs == pytest.approx(expected.top_probs, abs=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_logit_that_is_no_number_is_told(decoder, bad):
    logits = torch.zeros(2, CONFIG.vocab_size)
    logits[1, 500] = bad
    decoder.choose(logits[:1], [Draw(Sampling(), [1])])
    with pytest.raises(FloatingPointError, match="not numbers"):
        decoder.choose(logits, [Draw(Sampling(), [1])] * 2)


def test_what_does_not_fit_is_refused_before_anything_is_read(decoder):
    cache = decoder.cache(3)
    with pytest.raises(ValueError, match="holds 3 tokens; 4 do not fit"):
        decoder.read([Feed(cache, [1, 2, 3, 4])])
    for token in (-1, CONFIG.vocab_size):
        with pytest.raises(ValueError, match="997"):
            decoder.read([Feed(cache, [1, token])])
    assert cache.length == 0


def test_parts_are_turned_down_as_by_the_lens(decoder, texts):
    config = CONFIG
    scales = Scales.of(config, heads={(0, 1): 0, (2, 0): 1.5}, mlps={1: 0.5}, layers={2: 0.25})
    model = scaled_model(decoder.model, scales)
    assert not NativeDecoder.fits(model)
    with torch.inference_mode():
        expected = model(torch.tensor([texts[-1]]))[0]
    found = logits_of(decoder.scaled(scales.factors), texts[-1])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert not torch.allclose(found, logits_of(decoder, texts[-1]), atol=1e-2)
    with pytest.raises(ValueError, match=r"this model has \(3, 5\)"):
        decoder.scaled(scales.factors[1:])


def test_a_reader_says_what_the_model_says(decoder):
    model, reader = decoder.model, fast.reader(decoder.model)
    assert reader is not model
    assert reader.state_dict().keys() == model.state_dict().keys()
    ids = torch.tensor([[5, 8, 13, 21], [1, 2, 3, 4]])
    with torch.inference_mode():
        torch.testing.assert_close(reader(ids), model(ids), atol=1e-4, rtol=0)
        with pytest.raises(ValueError, match="65 tokens; the context holds 64"):
            reader.hidden(torch.zeros(1, 65, dtype=torch.long))
    gradients = []
    for one in (model, reader):
        one.zero_grad()
        one(ids)[0, -1, 3].backward()
        gradients.append(model.wpe.weight.grad.clone())
    assert torch.equal(*gradients)
    model.zero_grad()
    bfloat16 = fast.stored(model, torch.bfloat16)
    with torch.inference_mode():
        torch.testing.assert_close(fast.reader(bfloat16)(ids), bfloat16(ids), atol=1e-4, rtol=0)


def test_other_models_are_written_by_torch(make_model):
    assert isinstance(fast.decoder(make_model(CONFIG)), NativeDecoder)
    assert isinstance(fast.decoder(make_model(CONFIG).bfloat16()), fast.PlainDecoder)
    transposed = make_model(CONFIG)
    transposed.wte.weight.data = transposed.wte.weight.data.t().contiguous().t()
    assert isinstance(fast.decoder(transposed), fast.PlainDecoder)


@pytest.fixture
def no_library(tmp_path, monkeypatch):
    """As a machine on which nothing was compiled yet; what is compiled there need not be quick."""
    build.library.cache_clear()
    monkeypatch.setattr(build, "FLAGS", ("-std=c++17", "-O0"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path
    build.library.cache_clear()


def test_without_a_compiler_torch_writes(no_library, monkeypatch, make_model, caplog):
    monkeypatch.setenv("PATH", str(no_library))
    monkeypatch.delenv("CXX", raising=False)
    with caplog.at_level(logging.WARNING):
        assert isinstance(fast.decoder(make_model(CONFIG)), fast.PlainDecoder)
    assert [record.message for record in caplog.records] == [
        "no C++ compiler here (CXX, c++, g++ or clang++): writing with torch, slower"
    ]


def test_a_compiler_that_fails_is_told_in_one_line(no_library, monkeypatch, caplog):
    compiler = no_library / "c++"
    compiler.write_text("#!/bin/sh\necho 'cpu.cpp:1: error: not today' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with caplog.at_level(logging.WARNING):
        assert build.library() is None
    (line,) = [record.message for record in caplog.records]
    assert "not today" in line
    assert not list(no_library.glob("gpt2-cpu/*"))


def test_what_was_compiled_is_kept(no_library, monkeypatch):
    assert build.library() is not None
    (kept,) = no_library.glob("gpt2-cpu/*")
    build.library.cache_clear()
    monkeypatch.setattr(build.subprocess, "run", None)  # it would be called in vain
    assert build.library() is not None
    assert list(no_library.glob("gpt2-cpu/*")) == [kept]


def test_where_the_cache_cannot_be_written_it_is_kept_among_temporary_files(
    no_library, monkeypatch
):
    """Not compiled anew by each process."""
    blocked = no_library / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(build.tempfile, "tempdir", str(no_library))
    assert build.library() is not None
    (kept,) = no_library.glob("gpt2-cpu-*/*.so")
    build.library.cache_clear()
    monkeypatch.setattr(build.subprocess, "run", None)
    assert build.library() is not None
    assert list(no_library.glob("gpt2-cpu-*/*.so")) == [kept]
