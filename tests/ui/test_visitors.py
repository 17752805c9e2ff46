"""gpt2.ui.visitors: who comes when, and who is refused."""

import asyncio

import pytest

from gpt2.ui.incoming import Refused
from gpt2.ui.visitors import Line, Places, visitor_of

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


def test_one_address_never_has_more_than_half_of_all_places():
    line = line_of(*["7"] * 4)
    with pytest.raises(
        Refused, match=r"4 texts of your address .* may have 4 at a time"
    ) as refused:
        join(line, "7")
    assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "1"})
    join(line, "8")


def test_a_full_queue_says_which_number_one_would_be():
    line = line_of(*"77778888")
    with pytest.raises(
        Refused, match=r"4 texts are worked on and 4 wait, .* be number 5"
    ) as refused:
        join(line, "9")
    assert refused.value.status == 503


def test_who_waits_is_taken_by_turns_of_addresses():
    line = line_of(("7", "1"), ("7", "2"), ("8", "3"), ("8", "4"), ("7", "5"), ("7", "6"))
    join(line, ("9", "7"))
    join(line, ("8", "8"))
    assert sessions(line.waiting) == ["7", "5", "8", "6"]
    line.running[0].leave()
    assert sessions(line.running) == ["2", "3", "4", "7"]


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
    assert heard == [2]
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
    for visitor in "7788":
        join(line, visitor)
    with pytest.raises(Refused) as refused:
        join(line, "9")
    assert refused.value.headers == {"retry-after": "60"}
    with pytest.raises(Refused) as refused:
        line_of(*"77778888", "9")
    assert refused.value.headers == {"retry-after": "2"}
