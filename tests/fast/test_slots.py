"""Texts being written stand in the first slots; those that wait keep theirs while there is room."""

import gc

import pytest
import torch

from gpt2.cache import KVCache
from gpt2.fast.slots import PATIENCE, Slots

CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


@pytest.fixture
def slots(tiny_config):
    return Slots(tiny_config, 4, **CPU)


@pytest.fixture
def make_cache(tiny_config):
    def make(number, length=3):
        cache = KVCache(tiny_config, 8, **CPU)
        cache.keys.fill_(number)
        cache.values.fill_(-number)
        cache.length = length
        return cache

    return make


def test_a_text_moves_in_with_what_it_holds(slots, make_cache):
    cache = make_cache(7.0)
    assert slots.seat([cache], 1) == [0]
    assert cache.keys.data_ptr() == slots.keys.data_ptr()
    assert cache.keys.shape[3] == 8
    assert (cache.keys[:, :, :, :3] == 7).all()
    assert (cache.values[:, :, :, :3] == -7).all()
    assert (slots.keys[:, 0, :, 3:] == 0).all()


def test_it_takes_no_more_memory_than_it_did(slots, make_cache):
    cache = make_cache(7.0)
    before = cache.nbytes
    slots.seat([cache], 1)
    assert cache.nbytes == before


def test_a_text_stays_where_it_is(slots, make_cache):
    caches = [make_cache(float(n)) for n in range(3)]
    assert slots.seat(caches, 4) == [0, 1, 2]
    assert slots.seat(caches[1:], 2) == [1, 2]  # the first one may go on at any time
    assert slots.seat(caches, 4) == [0, 1, 2]


def test_a_text_that_is_gone_leaves_its_slot(slots, make_cache):
    caches = [make_cache(float(n)) for n in range(3)]
    slots.seat(caches, 4)
    del caches[0]
    gc.collect()
    assert slots.seat(caches[1:], 1) == [0]  # moved to the front
    assert (caches[1].keys[:, :, :, :3] == 2).all()
    assert slots.seat(caches, 2) == [1, 0]


def test_a_text_that_waited_long_makes_room_in_front(slots, make_cache):
    kept, written = make_cache(1.0), make_cache(2.0)
    slots.seat([kept, written], 2)
    for _ in range(PATIENCE):
        assert slots.seat([written], 1) == [1]
    assert slots.seat([written], 1) == [0]
    assert (kept.keys[:, :, :, :3] == 1).all()
    written.keys.fill_(9)
    assert (kept.keys[:, :, :, :3] == 1).all()  # it has memory of its own again


def test_more_texts_than_slots(slots, make_cache):
    caches = [make_cache(float(n)) for n in range(9)]
    for round_ in range(3):
        for start in (0, 4, 5):
            part = caches[start : start + 4]
            assert len(set(slots.seat(part, 4))) == 4
            for cache in part:
                number = float(caches.index(cache))
                assert (cache.keys[:, :, :, :3] == number).all(), round_
                assert (cache.values[:, :, :, :3] == -number).all()


def test_the_memory_of_one(slots, tiny_config):
    total = slots.keys.nbytes + slots.values.nbytes
    assert Slots.nbytes_of_one(tiny_config, torch.float32) * 4 == total
