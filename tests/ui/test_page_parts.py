"""gpt2.ui without a browser: what is escaped, what is told, and the shield in front of it."""

import asyncio
import base64
import json
import math
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from tags import Tags

from gpt2.engine import Limits, Request, Sampling
from gpt2.ui import build_app, launch_options
from gpt2.ui.generate.words import count_words, limits_words, settings_words
from gpt2.ui.inside.next_token import next_token_drawings
from gpt2.ui.page import errors_in_words, note, on_a_clock, paced
from gpt2.ui.picture import Drawing
from gpt2.ui.record import Asked, Text
from gpt2.ui.server import mailbox
from gpt2.ui.server.collector import trim_memory
from gpt2.ui.server.guard import MAX_BODY, Guard
from gpt2.ui.server.mailbox import Mailbox
from gpt2.ui.server.served import values

HOSTILE = ("<img src=x onerror=f()>", '"onmouseover="f()', "'><script>f()</script>", "&lt;b&gt;")


# --- words -----------------------------------------------------------------------------------


def test_the_prompt_is_counted_and_what_does_not_fit_told(engine):
    assert count_words(engine, "", "tiny") == "0 of 64 tokens"
    assert count_words(engine, " the" * 64, "tiny") == "64 of 64 tokens"
    assert "65 of 64 tokens; the beginning will be dropped" in count_words(
        engine, " the" * 65, "tiny"
    )
    assert "limit is 20,000" in count_words(engine, "x" * 20_001, "tiny")
    assert "surrogate" in count_words(engine, "\ud800", "tiny")


def test_a_prompt_too_long_to_be_sent_is_told_by_its_length(engine):
    """The count of the text before was left standing."""
    assert count_words(engine, "", "tiny", 350_000) == (
        "the prompt has 350,000 characters; the limit is 20,000; shorten it"
    )
    assert count_words(engine, " the", "tiny", 4) == "1 of 64 tokens"


def test_a_space_at_the_end_of_a_prompt_gets_a_hint(engine):
    assert "ends in a space" in count_words(engine, "Hello ", "tiny")
    for prompt in ("", "Hello", "Hello\n", " Hello"):
        assert "space" not in count_words(engine, prompt, "tiny")


def test_a_stop_text_is_shown_with_its_line_breaks():
    assert settings_words(60, 1, 0, 1, 0, 1, seed=0, stop="\n").endswith('stop at "\\n"')


def test_settings_and_limits_in_words(engine):
    assert (
        settings_words(60, 0.8, 50, 1, 0, 1.2, seed=3)
        == "Settings: temperature 0.8 · top-k 50 · penalty 1.2 · 60 tokens · seed 3"
    )
    assert (
        settings_words(60, 0, 0, 0.9, 0.05, 1, seed=None)
        == "Settings: greedy · all tokens · top-p 0.9 · min-p 0.05 · 60 tokens · seed 0"
    )
    limits, said = Limits(), limits_words(engine)
    for number in (f"{limits.prompt_chars:,}", limits.new_tokens, f"{limits.seconds:g} s"):
        assert str(number) in said
    assert f"{limits.queue} waiting, of one address half as many" in said


def drawing(alt="A picture.", name="picture"):
    columns = {"token": ["·a", ",", '"'], "prob": [0.5, 0.25, 0.25]}
    picture = SimpleNamespace(
        figure=lambda theme, width: Figure(figsize=(1, 1), label=theme.name),
        cells=lambda width: None,
        alt=lambda: alt,
        columns=lambda: columns,
    )
    return Drawing(picture, 300, name)


def test_notes_and_drawings_escape_what_they_say():
    for hostile in HOSTILE:
        assert Tags(note(hostile)).tags == {"p"}
        seen = Tags(drawing(hostile, hostile).html())
        assert {"figure", "svg", "figcaption", "span", "button"} <= seen.tags
        assert not seen.tags & {"img", "script", "b"}
        assert not {name for name in seen.attributes if name.startswith("on")}
        assert hostile in seen.text


def decoded(file):
    return base64.b64decode(file["url"].partition(";base64,")[2])


def test_a_drawing_can_be_saved_as_a_picture_and_its_numbers_as_csv():
    png, svg, csv = (drawing().file(kind) for kind in ("png", "svg", "csv"))
    assert svg["name"] == "picture.svg"
    assert csv["name"] == "picture.csv"
    assert decoded(svg).startswith(b"<?xml")
    assert decoded(png).startswith(b"\x89PNG")
    assert decoded(csv) == 'token,prob\r\n·a,0.5\r\n",",0.25\r\n"""",0.25\r\n'.encode()


@pytest.mark.parametrize("error", [ValueError, FileNotFoundError, FloatingPointError])
def test_refusals_reach_the_page_in_their_own_words(error):
    import gradio as gr

    with pytest.raises(gr.Error) as told, errors_in_words():
        raise error("the limit is 5")
    assert told.value.message == "the limit is 5"


def test_other_errors_keep_their_words_to_themselves():
    with pytest.raises(KeyError), errors_in_words():
        raise KeyError("a secret path")


# --- the app ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(engine):
    """The page, built but not served; a warning while it is built is an error here."""
    return build_app(engine)


def test_the_app_hides_its_own_handlers(app):
    shown = {fn.api_name for fn in app.fns.values() if fn.api_visibility == "public"}
    inside = {"lens", "ablate", "attribute", "branch"}
    assert shown == {"generate", "score", "attention", "classify", "models"} | inside


def test_short_calls_views_and_texts_have_places_of_their_own(app):
    lines = app._queue.lines
    places = {name: line.places.running for name, line in lines.items()}
    assert places == {"texts": 32, "calls": 8, "views": 8}
    for fn in app.fns.values():
        if fn.queue and fn.fn:
            assert fn.concurrency_limit is None, "Gradio would hold back what has a place"
            assert fn.concurrency_id in lines


def test_an_idle_page_leaves_the_machine_alone(app):
    """Gradio looks for events a thousand times a second, 6 % of a core."""
    assert app._queue.sleep_when_free >= 0.005
    assert app._queue.progress_update_sleep_when_free >= 1


def test_no_template_is_filled_with_text(app):
    """Gradio runs {{...}} and ${...} of its HTML component as code, whatever fills them."""
    for block in app.blocks.values():
        if block.get_block_name() == "html":
            held = block.html_template.replace("${value}", "", 1)
            assert "{{" not in held
            assert "${" not in held
            assert "`" not in held


def test_no_tab_of_a_browser_holds_a_connection(app):
    """A browser has six for a page; with one state in it each tab takes one, and the seventh
    tab never opens."""
    assert app.get_config_file()["connect_heartbeat"] is False


def test_what_could_leave_the_machine_is_off():
    options = launch_options()
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert options["ssr_mode"] is options["run_history"] is options["enable_monitoring"] is False
    assert options["show_error"] is False


# --- the shield ------------------------------------------------------------------------------


JOIN = "/gradio_api/queue/join"  # takes a body


def shielded(headers, pieces, *, kind="http"):
    """What comes back through the shield from an app that reads all, and what that app read."""
    read, sent, waiting = [], [], list(pieces)

    async def app(scope, receive, send):
        more = True
        while more:
            message = await receive()
            read.append(message)
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    async def receive():
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    # In a thread of its own: this one may have a loop already.
    with ThreadPoolExecutor(1) as pool:
        scope = {"type": kind, "method": "POST", "path": JOIN, "headers": headers}
        pool.submit(lambda: asyncio.run(Guard(app)(scope, receive, send))).result()
    return sent, read


def test_the_shield_lets_a_body_of_the_limit_through_and_adds_headers():
    length = (b"content-length", str(MAX_BODY).encode())
    sent, read = shielded([length], [b"x" * MAX_BODY])
    assert sent[0]["status"] == 200
    assert len(read[0]["body"]) == MAX_BODY
    names = {name for name, _ in sent[0]["headers"]}
    assert {b"x-content-type-options", b"referrer-policy", b"content-security-policy"} == names


@pytest.mark.parametrize("declared", [str(MAX_BODY + 1), "1e9", "-1", "", "999999999999999999999"])
def test_the_shield_refuses_a_body_that_says_it_is_larger(declared):
    sent, read = shielded([(b"content-length", declared.encode())], [b""])
    assert sent[0]["status"] == 413
    assert read == []


def test_the_shield_cuts_a_body_that_did_not_say():
    sent, read = shielded([], [b"x" * 100_000] * 5)
    assert sent[0]["status"] == 413
    assert read == []
    assert str(MAX_BODY) in json.loads(sent[1]["body"])["detail"]


def test_the_longest_prompt_fits_through_the_shield_however_it_is_escaped():
    for character in ("\u4e2d", "\U0001f600", "\x00"):
        assert len(json.dumps({"data": [character * Limits().prompt_chars]})) < MAX_BODY


def test_of_results_that_get_better_the_first_late_one_and_the_last_are_drawn(monkeypatch):
    now = iter([0, 0.01, 0.2, 0.2, 0.3, 1.0, 1.0, 1.1])
    monkeypatch.setattr("gpt2.ui.page.time.monotonic", lambda: next(now))
    assert list(paced("abcde")) == ["b", "d", "e"]
    monkeypatch.setattr("gpt2.ui.page.time.monotonic", lambda: 0.0)
    assert list(paced("abc")) == ["c"]
    assert list(paced([])) == []


def test_tokens_come_in_batches_the_first_at_once(monkeypatch):
    now = iter([1.0, 1.02, 1.09, 1.1])
    monkeypatch.setattr("gpt2.ui.page.time.monotonic", lambda: next(now))
    assert list(on_a_clock("abcd", 0.08)) == [["a"], ["b", "c"], ["d"]]
    assert list(on_a_clock("", 0.08)) == []


def test_an_emptied_slider_is_what_it_began_with():
    import gradio as gr

    slider, seed, text = gr.Slider(0, 2, 0.7, label="Temperature"), gr.Number(5), gr.Textbox()
    assert values([slider, seed, text], [None, None, None]) == [0.7, 5, None]
    for wrong in ("3", True, [1], math.nan):
        with pytest.raises(ValueError, match=r"^Temperature is .*; it must be a number"):
            values([slider], [wrong])
    with pytest.raises(ValueError, match="takes 1 values and 0 came"):
        values([slider], [])


# --- mailboxes -------------------------------------------------------------------------------


def in_a_loop(work):
    """Run a coroutine in a thread of its own: this one may have a loop already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


def test_messages_come_out_as_they_went_in_and_small_while_nobody_listens():
    message = {"tokens": [{"id": 5, "piece": "·the"}] * 1000}

    async def work():
        box = Mailbox()
        box.put_nowait(message)
        unheard = box.nbytes
        first = await box.get()
        box.put_nowait(message)  # somebody listens: it is handed on as it is
        return unheard, first, box.nbytes, await box.get()

    unheard, first, heard, second = in_a_loop(work)
    assert 0 < unheard < 2000
    assert heard == 0
    assert first == message
    assert second is message


def test_answers_that_nobody_fetches_are_bounded_and_given_back(app, monkeypatch):
    """Forty calls that nobody listened to held 626 MB for good."""
    monkeypatch.setattr(mailbox, "KEPT_BYTES", 10_000)
    monkeypatch.setattr(mailbox, "KEPT_SECONDS", 0.3)
    monkeypatch.setattr(mailbox, "TRIM_SECONDS", 0.2)
    trimmed: list[float] = []
    monkeypatch.setattr(mailbox, "trim_memory", lambda: trimmed.append(time.monotonic()))

    async def work():
        boxes, most = mailbox.Mailboxes(app), 0
        for number in range(50):
            session = f"call {number}"
            boxes[session] = asyncio.Queue()
            app._queue.pending_event_ids_session[session] = {session}
            boxes[session].put_nowait(os.urandom(1000))
            most = max(most, sum(box.nbytes for box in boxes.values()))
        last = await boxes["call 49"].get()
        for _ in range(50):
            await asyncio.sleep(0.1)
            if len(boxes) == 1 and len(trimmed) > 1:
                break
        return most, last, list(boxes), list(app._queue.pending_event_ids_session)

    most, last, left, ids = in_a_loop(work)
    assert most < 13_000
    assert len(last) == 1000
    assert left == ids == ["call 49"]  # who listened a moment ago may come again
    assert all(b - a > 0.1 for a, b in pairwise(trimmed))
    assert len(trimmed) > 1


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads /proc")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators give back unasked")
def test_memory_that_was_freed_goes_back_to_the_system():
    """Five minutes after a rush of calls nobody listened to, the server was as large as in it."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    blocks = [bytearray(3000) for _ in range(60_000)]  # 180 MB
    survivors = blocks[::1000]
    del blocks
    before = resident()
    trim_memory()
    assert before - resident() > 100e6
    assert len(survivors) == 60


def test_picking_a_token_reads_the_text_once(fresh_engine, passes):
    """The draw asked for another text than the numbers above it: each pick cost two passes."""
    sampling = Sampling(temperature=3.0, top_k=0, seed=7)
    request = Request("Hello world", 12, sampling, model="tiny")
    *_, trace = fresh_engine.generate(request)
    text = Text(request, trace.ids, len(trace.prompt_ids))
    passes.clear()
    for place in range(1, len(trace.ids)):
        drawings = next_token_drawings(fresh_engine, Asked("", text, place, {}))
        drawn = place >= len(trace.prompt_ids)
        assert ("random number" in drawings["bars"].picture.alt()) is drawn, place
    assert passes == [len(trace.ids)]
