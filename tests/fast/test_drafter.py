"""A smaller model's guesses: what it would draw itself, whatever it guessed before."""

import pytest

from gpt2 import fast
from gpt2.fast import Drafter
from gpt2.generate import generate
from gpt2.sampling import Sampling

PROMPT = [5, 7, 9]
SAMPLINGS = [Sampling(temperature=0), Sampling(temperature=1.5, top_k=0, seed=3)]


@pytest.fixture(params=SAMPLINGS, ids=["greedy", "drawn"])
def sampling(request):
    return request.param


def text_of(model, prompt, sampling, count):
    steps = generate(model, prompt, sampling, max_new_tokens=count, eos=-1)
    return [*prompt, *(step.id for step in steps)]


def test_it_guesses_what_it_would_say(tiny_model, sampling):
    drafter = Drafter(fast.decoder(tiny_model), sampling, capacity=20)
    said = text_of(tiny_model, PROMPT, sampling, 10)
    assert drafter.guess(PROMPT, 4) == said[3:7]
    assert drafter.guess(said[:8], 5) == said[8:]


def test_what_it_guessed_wrongly_is_forgotten(tiny_model, sampling):
    drafter = Drafter(fast.decoder(tiny_model), sampling, capacity=20)
    drafter.guess(PROMPT, 6)
    other = [*PROMPT, 50, 60]
    assert drafter.guess(other, 3) == text_of(tiny_model, other, sampling, 3)[5:]
    assert drafter.guess(other, 3) == text_of(tiny_model, other, sampling, 3)[5:]


def test_where_its_context_ends_it_guesses_no_more(tiny_model, sampling):
    n_ctx = tiny_model.config.n_ctx
    drafter = Drafter(fast.decoder(tiny_model), sampling, capacity=1000)
    text = list(range(n_ctx - 1))
    assert len(drafter.guess(text, 7)) == 2  # after the last of its tokens but one, and the last
    assert len(drafter.guess([*text, 1], 7)) == 1
    assert drafter.guess([*text, 1, 2], 7) == []
