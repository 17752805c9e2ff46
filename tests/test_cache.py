"""gpt2.cache: reading on from a cache is the same as reading anew."""

import pytest
import torch

from gpt2.cache import KVCache

TOLERANCE = 5e-5  # float32, numbers up to about 10


@pytest.fixture
def ids(tiny_config):
    return torch.randint(tiny_config.vocab_size, (1, 9), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def cache(tiny_config):
    return new_cache(tiny_config, 12)


def new_cache(config, capacity):
    return KVCache(config, capacity, device=torch.device("cpu"), dtype=torch.float32)


def decode(model, ids, cache, *, prefill):
    """Hidden states of ids: the first `prefill` at once, then one at a time."""
    parts = [model.hidden(ids[:, :prefill], cache)]
    parts += [model.hidden(ids[:, t : t + 1], cache) for t in range(prefill, ids.size(1))]
    return torch.cat(parts, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("prefill", range(1, 10))
def test_cached_decoding_gives_the_logits_of_one_pass_at_every_split(
    tiny_model, ids, cache, prefill
):
    cached = tiny_model.logits(decode(tiny_model, ids, cache, prefill=prefill))
    torch.testing.assert_close(cached, tiny_model(ids), atol=TOLERANCE, rtol=0)
    assert cache.length == ids.size(1)


@torch.no_grad()
def test_a_cache_of_no_spare_room_holds_exactly_its_capacity(tiny_config, tiny_model, ids):
    cached = decode(tiny_model, ids, new_cache(tiny_config, ids.size(1)), prefill=4)
    torch.testing.assert_close(cached, tiny_model.hidden(ids), atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_several_tokens_on_a_cache_that_is_not_empty_are_refused(tiny_model, ids, cache):
    tiny_model.hidden(ids[:, :3], cache)
    with pytest.raises(ValueError, match="2 tokens at once on a cache that holds 3"):
        tiny_model.hidden(ids[:, 3:5], cache)
    assert cache.length == 3


@torch.no_grad()
def test_a_token_past_the_capacity_is_refused_with_both_numbers(tiny_config, tiny_model, ids):
    cache = new_cache(tiny_config, 4)
    tiny_model.hidden(ids[:, :4], cache)
    with pytest.raises(ValueError, match="holds 4 tokens; 5 do not fit"):
        tiny_model.hidden(ids[:, 4:5], cache)
    with pytest.raises(ValueError, match="holds 4 tokens; 9 do not fit"):
        tiny_model.hidden(ids, new_cache(tiny_config, 4))


@pytest.mark.parametrize("capacity", [0, -1, 25])
def test_a_capacity_outside_the_context_is_refused(tiny_config, capacity):
    with pytest.raises(ValueError, match=f"capacity is {capacity}; it must be 1 to 24"):
        new_cache(tiny_config, capacity)


@torch.no_grad()
def test_two_caches_of_one_model_do_not_share_memory(tiny_config, tiny_model, ids):
    one, two = new_cache(tiny_config, 12), new_cache(tiny_config, 12)
    tiny_model.hidden(ids[:, :5], one)
    tiny_model.hidden(ids[:, 4:], two)
    after = tiny_model.hidden(ids[:, 5:6], one)
    fresh = tiny_model.hidden(ids[:, :6])[:, 5:]
    torch.testing.assert_close(after, fresh, atol=TOLERANCE, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("kept", [0, 3, 5])
def test_a_copy_goes_on_by_itself_and_leaves_the_first_as_it_was(tiny_model, ids, cache, kept):
    decode(tiny_model, ids[:, :5], cache, prefill=5)
    copy = cache.copy(kept, capacity=9)
    assert (copy.length, copy.capacity, cache.length) == (kept, 9, 5)
    text = torch.cat([ids[:, :kept], ids[:, :4]], dim=1)
    parts = [tiny_model.hidden(token[:, None], copy) for token in ids[:, :4].unbind(1)]
    fresh = tiny_model.hidden(text)[:, kept:]
    torch.testing.assert_close(torch.cat(parts, dim=1), fresh, atol=TOLERANCE, rtol=0)
    after = tiny_model.hidden(ids[:, 5:6], cache)
    whole = tiny_model.hidden(ids[:, :6])[:, 5:]
    torch.testing.assert_close(after, whole, atol=TOLERANCE, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("length", "capacity"), [(6, 12), (-1, 12), (4, 3)])
def test_a_copy_of_more_than_there_is_or_fits_is_refused(tiny_model, ids, cache, length, capacity):
    tiny_model.hidden(ids[:, :5], cache)
    with pytest.raises(ValueError, match=f"cannot copy {length} tokens of a cache of 5"):
        cache.copy(length, capacity=capacity)


def test_a_cache_knows_its_size(tiny_config):
    assert new_cache(tiny_config, 12).nbytes == 2 * 3 * 32 * 12 * 4  # k and v, layers, width, bytes
