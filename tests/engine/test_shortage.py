"""Too little memory: whoever asked for too much is told so, and the others go on."""

import pytest
import torch

from gpt2.engine import Engine, Request
from gpt2.engine.shortage import WORDS

MOST = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.25 GiB"


@pytest.fixture
def narrow(fresh_engine: Engine, monkeypatch):
    """narrow(most): from now on a step that reads more tokens than this is refused by a GPU."""
    decoder = fresh_engine.library.get(fresh_engine.catalog.models[0]).decoder
    read = decoder.read

    def restrict(most: int) -> None:
        def refusing(feeds):
            if sum(len(feed.ids) for feed in feeds) > most:
                raise torch.OutOfMemoryError(MOST)
            return read(feeds)

        monkeypatch.setattr(decoder, "read", refusing)

    return restrict


def test_a_prompt_that_does_not_fit_is_refused_in_words(fresh_engine, narrow):
    """The page said that there was an error in the program."""
    narrow(5)
    with pytest.raises(ValueError, match=WORDS):
        list(fresh_engine.generate(Request("It " * 30, max_new_tokens=3)))
    assert fresh_engine.pulse().alive


def test_texts_that_do_not_fit_together_are_written_one_by_one(fresh_engine, narrow):
    requests = [Request(f"It rains {n}", max_new_tokens=8) for n in range(4)]
    alone = [list(fresh_engine.generate(request))[-1].ids for request in requests]
    again = Engine(fresh_engine.library, fresh_engine.limits)  # remembers none of them
    narrow(8)
    writing = [again.generate(request) for request in requests]
    assert [list(traces)[-1].ids for traces in writing] == alone


def test_a_view_that_does_not_fit_is_refused_in_words(fresh_engine):
    def work():
        return torch.zeros(10**14)  # torch's own refusal, on the CPU

    with pytest.raises(ValueError, match=WORDS):
        fresh_engine.library.scheduler.run(work)
