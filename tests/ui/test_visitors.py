"""gpt2.ui.server.visitors: who comes when, and who is refused."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from gpt2.ui.server import shares
from gpt2.ui.server.incoming import Refused
from gpt2.ui.server.visitors import Line, Places, visitor_of

TEXTS = Places("texts", running=4, waiting=4)


def line_of(*visitors, places=TEXTS):
    """A line that these have joined one after the other: ("address", "session") or "address"."""
    line = Line(places)
    for visitor in visitors:
        join(line, visitor)
    return line


def join(line, visitor):
    address, session = visitor if isinstance(visitor, tuple) else (visitor, "")
    return line.join(visitor_of(address, session))


def sessions(turns):
    return [turn.visitor.session for turn in turns]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2:bbbb::2"),  # one household's
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("fe80::1%eth0", "fe80::1"),
        (None, ""),
    ],
)
def test_addresses_of_one_visitor_are_one(one, other):
    assert visitor_of(one, "s") == visitor_of(other, "s")


def test_other_addresses_are_other_visitors():
    assert visitor_of("2001:db8:1:2::1", "") != visitor_of("2001:db8:1:3::1", "")
    assert visitor_of("10.0.0.7", "") != visitor_of("10.0.0.8", "")
    assert visitor_of("10.0.0.7", "a") != visitor_of("10.0.0.7", "b")


def test_one_address_never_has_more_than_half_of_what_runs():
    line = line_of(*["7"] * 4)
    assert (len(line.running), len(line.waiting)) == (2, 2)
    join(line, "8")
    assert [turn.visitor.address for turn in line.running] == ["7", "7", "8"]


def test_two_greedy_addresses_leave_places_at_which_another_begins_at_once():
    """All 32 were held for as long as two addresses had their texts written, 13 seconds."""
    line = Line(Places("texts", running=32, waiting=64))
    for _ in range(100):
        for address in "78":
            with suppress(Refused):
                join(line, address)
    assert 20 <= len(line.running) < 24
    assert join(line, "9") in line.running


def test_one_address_never_has_more_than_half_of_all_places():
    line = line_of(*["7"] * 4)
    with pytest.raises(
        Refused, match=r"4 texts of your address .* may have 4 at a time while 4 places are left"
    ) as refused:
        join(line, "7")
    assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "1"})
    join(line, "8")


def test_two_greedy_addresses_leave_places_in_the_queue_for_others():
    """Each had half of all; a third was told that the queue is full."""
    line = Line(Places("texts", running=32, waiting=64))
    for _ in range(100):
        for address in "78":
            with suppress(Refused):
                join(line, address)
    assert len(line.waiting) < 45
    for number in range(15):
        join(line, f"other {number}")


def test_a_full_queue_says_which_number_one_would_be():
    line = line_of(*"77789901")
    with pytest.raises(
        Refused, match=r"4 texts are worked on and 4 wait, .* be number 5"
    ) as refused:
        join(line, "2")
    assert refused.value.status == 503


def test_who_waits_is_taken_by_turns_of_addresses():
    asked = ("7", "1"), ("7", "2"), ("8", "3"), ("8", "4"), ("7", "5"), ("7", "6"), ("9", "7")
    line = line_of(*asked, ("8", "8"), places=Places("texts", running=4, waiting=20))
    assert sessions(line.running) == ["1", "2", "3", "7"]
    assert sessions(line.waiting) == ["4", "5", "8", "6"]
    line.running[0].leave()
    line.running[0].leave()
    assert sessions(line.running) == ["3", "7", "5"]


def test_sessions_of_one_address_take_turns_too():
    """Of a school behind one address nobody waits for all that another has asked for."""
    places = Places("texts", running=2, waiting=10)
    busy = [("7", "busy")] * 4
    line = line_of(*busy, ("7", "other"), places=places)
    assert sessions(line.running) == ["busy"]
    assert sessions(line.waiting) == ["other", "busy", "busy", "busy"]


def test_who_leaves_makes_room_whether_it_ran_or_waited():
    line = line_of(*"7788789")
    assert [turn.place for turn in line.waiting] == [1, 2, 3]
    line.waiting[1].leave()
    assert [turn.place for turn in line.waiting] == [1, 2]
    line.running[0].leave()
    line.running[0].leave()
    assert [turn.place for turn in line.waiting] == [1]


def test_leaving_twice_gives_one_place_back():
    line = line_of(*"7788")
    turn = line.running[0]
    turn.leave()
    turn.leave()
    assert len(line.running) == 3


def test_who_waits_hears_of_each_place_until_its_turn():
    line = line_of(*"778899")
    last, heard = line.waiting[-1], []

    async def wait():
        async for place in last.places():
            heard.append(place)
            line.running[0].leave()
            line.running[0].leave()

    asyncio.run(wait())
    assert heard == [2, 1]
    assert last in line.running


def test_the_seconds_until_trying_again_are_those_that_requests_took(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    line = line_of(*"7788")
    for _ in range(60):
        turn = line.running[0]
        now[0] += 30  # seconds, of four that run side by side
        turn.leave()
        join(line, turn.visitor.address)
    for visitor in "7890":
        join(line, visitor)
    with pytest.raises(Refused) as refused:
        join(line, "1")
    assert refused.value.headers == {"retry-after": "60"}
    with pytest.raises(Refused) as refused:
        line_of(*"77887890", "1")
    assert refused.value.headers == {"retry-after": "2"}


# --- in tokens ---------------------------------------------------------------------------------

STEPS = 3000


def written(wanted, *, rows=4):
    """Tokens that each address was written in so many steps, each a token for all that runs.

    Args:
        wanted: by address, tokens of its texts, how many of them it asks for at a time, and the
            steps that it rests after each.
    """
    line, tokens = Line(Places("texts", running=rows, waiting=100)), Counter()
    length, asked = {address: text for address, (text, _, _) in wanted.items()}, Counter()
    due = {address: [0] * count for address, (_, count, _) in wanted.items()}
    for step in range(STEPS):
        for address, times in due.items():
            while times and times[0] <= step:
                times.pop(0)
                join(line, address)
                asked[address] += 1
        for turn in list(line.running):
            address = turn.visitor.address
            turn.took += 1
            tokens[address] += 1
            if turn.took >= length[address]:
                turn.leave()
                due[address].append(step + wanted[address][2])
    return tokens, asked


def test_long_texts_get_an_address_no_more_tokens_than_short_ones():
    """By turns alone it had twice as many."""
    wanted = {str(number): (20, 2, 0) for number in range(7)} | {"long": (400, 2, 0)}
    tokens, _ = written(wanted)
    fair = 4 * STEPS / len(wanted)
    assert max(tokens.values()) < fair + 400
    assert min(tokens.values()) > 0.9 * fair - 400 / 7


def test_who_asks_now_and_then_hardly_waits_for_those_who_ask_without_end():
    greedy = {str(number): (60, 3, 0) for number in range(8)}
    tokens, asked = written(greedy | {"calm": (20, 1, 80)})
    assert asked["calm"] > STEPS / (20 + 80 + 60)  # a place is free every 15 steps
    assert tokens["calm"] == pytest.approx(20 * asked["calm"], abs=20)


def test_what_a_visitor_had_alone_is_not_owed_when_others_come():
    line, ended = Line(Places("texts", running=4, waiting=20)), Counter()

    def end_one(*addresses):
        for address in addresses:
            while sum(turn.visitor.address == address for turn in line.everyone) < 4:
                join(line, address)
        turn = line.running[0]
        turn.took = 500
        turn.leave()
        ended[turn.visitor.address] += 1

    for _ in range(500):
        end_one("7")
    ended.clear()
    for _ in range(40):
        end_one("7", "8")
    assert abs(ended["7"] - ended["8"]) <= 4


def test_addresses_without_end_take_no_memory_without_end():
    line = Line(Places("texts", running=4, waiting=4))
    for number in range(shares.ADDRESSES + 50):
        join(line, f"address {number}").leave()
    assert len(line._given._given) <= shares.ADDRESSES
