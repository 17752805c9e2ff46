"""gpt2.ui.server.pace: how often one may ask for what has no queue, and guess."""

import asyncio
import math

import httpx
import pytest
from programs import free_port

from gpt2.ui import build_app, launch_options
from gpt2.ui.server import pace
from gpt2.ui.server.pace import AT_ONCE, EVERY, LONGEST, Pace
from gpt2.ui.server.tries import FREE, PAUSE, Tries


@pytest.fixture
def clock(monkeypatch):
    """A clock that sleeping moves on; clock[0] is its time."""
    now = [1000.0]

    async def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(pace.asyncio, "sleep", sleep)
    return now


def asked(paced, clock, whose, times, *, every=0.0):
    """What comes of asking so often: seconds until each is done, or why it is not (negative)."""
    found = []
    for _ in range(times):
        begun = clock[0]
        refused = asyncio.run(paced.wait(whose))
        found.append(-refused if refused else clock[0] - begun)
        clock[0] = max(clock[0], begun + every)
    return found


def of_page():
    return Pace(free=AT_ONCE, every=EVERY, longest=LONGEST)


def test_twenty_keys_a_second_never_wait(clock):
    assert max(asked(of_page(), clock, "7", 2000, every=1 / 20)) == 0


def test_thousands_a_second_become_fifty_and_other_addresses_do_not_wait(clock):
    paced, begun = of_page(), clock[0]
    waits = asked(paced, clock, "7", 1000)
    assert waits[:AT_ONCE] == [0] * AT_ONCE
    assert clock[0] - begun == pytest.approx((1000 - AT_ONCE) * EVERY)
    assert asked(paced, clock, "8", 1) == [0]


def test_who_would_wait_for_long_is_told_for_how_long(clock):
    async def at_once(count):
        paced = of_page()
        waits = [asyncio.ensure_future(paced.wait("7")) for _ in range(count)]
        return await asyncio.gather(*waits)

    async def stands(seconds):
        held.append(seconds)

    held = []
    pace.asyncio.sleep = stands
    found = asyncio.run(at_once(400))
    assert max(held) <= LONGEST
    assert len(held) == pytest.approx(LONGEST / EVERY, abs=1)
    assert sum(bool(refused) for refused in found) == 400 - AT_ONCE - len(held)
    assert math.ceil(found[-1]) == 1


def test_a_guess_beyond_the_first_few_stands_in_line_and_is_looked_at(clock):
    tried = Tries()

    def guess(address, name="ann"):
        begun = clock[0]
        assert asyncio.run(tried.begin(address, name)) == 0
        return clock[0] - begun

    assert [guess("192.0.2.1") for _ in range(FREE)] == [0] * FREE
    assert [guess("192.0.2.1") for _ in range(3)] == pytest.approx([PAUSE] * 3)
    assert guess("192.0.2.1", "bob") == guess("192.0.2.2") == 0
    assert guess("::ffff:192.0.2.1") == pytest.approx(PAUSE)
    clock[0] += FREE * PAUSE
    assert guess("192.0.2.1") == 0


def test_a_network_of_ipv6_is_one_guesser(clock):
    tried = Tries()
    for number in range(FREE):
        asyncio.run(tried.begin(f"2001:db8::{number}", "ann"))
    begun = clock[0]
    asyncio.run(tried.begin("2001:db8:0:1::1", "ann"))
    assert clock[0] == begun
    asyncio.run(tried.begin("2001:db8::ffff", "ann"))
    assert clock[0] > begun


def test_a_right_password_costs_nothing(clock):
    tried, begun = Tries(), clock[0]
    for _ in range(10 * FREE):
        asyncio.run(tried.begin("192.0.2.1", "ann"))
        tried.right("192.0.2.1", "ann")
    assert clock[0] == begun


def test_addresses_and_names_without_end_take_no_memory_without_end(clock):
    tried = Tries()

    async def ask():
        for number in range(pace.REMEMBERED + 50):
            await tried.begin(f"address {number}", "x" * 10_000)

    asyncio.run(ask())
    assert len(tried._pace._due) == pace.REMEMBERED
    assert max(len(name) for _, name in tried._pace._due) <= 100


@pytest.mark.slow
def test_a_flood_of_what_has_no_queue_is_refused_in_words_and_others_are_answered(
    engine, monkeypatch
):
    monkeypatch.setattr(pace, "AT_ONCE", 10)
    app = build_app(engine)
    app.launch(
        server_name="127.0.0.1",
        server_port=free_port(),
        prevent_thread_lock=True,
        **launch_options(),
    )
    config = app.get_config_file()["dependencies"]
    (stop,) = [
        one["id"]
        for one in config
        if one["queue"] is False and one["backend_fn"] and len(one["inputs"]) == 1
    ]
    body = {"data": [{"moment": 1}], "fn_index": stop, "session_hash": "s"}

    async def flood():
        def visitor(last):
            transport = httpx.AsyncHTTPTransport(local_address=f"127.0.0.{last}")
            url = f"{app.local_url}gradio_api/"
            return httpx.AsyncClient(base_url=url, transport=transport, timeout=30)

        async with visitor(7) as greedy, visitor(8) as other:
            asks = [greedy.post("run/predict", json=body) for _ in range(100)]
            found, calm = await asyncio.gather(
                asyncio.gather(*asks), other.post("run/predict", json=body)
            )
        return found, calm

    found, calm = asyncio.run(flood())
    app.close(verbose=False)
    assert calm.status_code == 200
    refused = [answer for answer in found if answer.status_code == 429]
    assert {answer.status_code for answer in found} == {200, 429}
    assert (
        "your address asks for more than 50 such answers a second; try again in 1 s"
        in (refused[0].json()["error"])
    )
    assert refused[0].headers["retry-after"] == "1"
