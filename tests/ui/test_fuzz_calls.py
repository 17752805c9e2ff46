"""Calls by the thousand that no program would send: each is answered in words, and leaves no trace.

Seeded, so that a failure repeats. The long run: pytest -n 0 -m soak tests/ui/test_fuzz_calls.py
"""

import httpx
import pytest
from fuzzer import MARK, PATHS, Fuzzer

QUICK, MANY = 200, 5000  # calls


def held(page, calls, seed):
    """Send them; nothing may be wrong with an answer, nor with what the page has printed."""
    from gradio_client import Client

    client = Client(page.url, verbose=False)
    try:
        fuzzer = Fuzzer(
            page.url, seed, lambda name, values: client.predict(**values, api_name=f"/{name}")
        )
        complaints = list(fuzzer.complaints(calls))
    finally:
        client.close()
    assert not complaints, "\n".join(complaints)
    assert httpx.get(page.url).status_code == 200
    log = page.log()
    assert [word for word in (MARK, "Traceback", *PATHS) if word in log] == []


def test_two_hundred_calls_that_are_none_are_answered_in_words(page_server):
    held(page_server, QUICK, seed=1)


@pytest.mark.soak
def test_five_thousand_calls_that_are_none_are_answered_in_words(page_server):
    held(page_server, MANY, seed=2)
