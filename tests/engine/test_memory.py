"""gpt2.engine.memory: what is kept, what is forgotten, and never more bytes than allowed."""

from dataclasses import dataclass

import pytest

from gpt2.engine.memory import Memory


@dataclass(frozen=True)
class Block:
    nbytes: int


def test_it_gives_back_what_was_kept_and_nothing_else():
    memory, block = Memory(100), Block(10)
    memory.keep("a", block)
    assert memory.get("a") is block
    assert memory.get("b") is None


def test_what_was_used_longest_ago_is_forgotten_first():
    memory = Memory(100)
    for key in "abc":
        memory.keep(key, Block(30))
    memory.get("a")
    memory.keep("d", Block(40))
    assert [key for key, _ in memory.items()] == ["c", "a", "d"]
    assert memory.nbytes == 100


def test_what_is_too_large_is_not_kept_and_costs_the_others_nothing():
    memory = Memory(100)
    memory.keep("a", Block(60))
    memory.keep("b", Block(101))
    assert [key for key, _ in memory.items()] == ["a"]


def test_a_value_kept_again_replaces_the_first():
    memory = Memory(100)
    memory.keep("a", Block(60))
    memory.keep("a", Block(70))
    assert memory.nbytes == 70


@pytest.mark.parametrize("size", [1, 10])
def test_a_memory_of_no_bytes_keeps_nothing(size):
    memory = Memory(0)
    memory.keep("a", Block(size))
    assert memory.get("a") is None
