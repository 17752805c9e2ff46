"""gpt2.ui without a browser: what is escaped, what is told, and the shield in front of it."""

import asyncio
import base64
import json
import math
import os
import platform
import re
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from gpt2.engine import Limits, Request, Sampling
from gpt2.figures import DARK, LIGHT
from gpt2.records import Trace
from gpt2.ui import build_app, launch_options, mailbox
from gpt2.ui.generate.completion import (
    count_words,
    keep,
    limits_words,
    settings_words,
    status_line,
    token_drawing,
)
from gpt2.ui.guard import MAX_BODY, Guard
from gpt2.ui.mailbox import Mailbox, trim_memory
from gpt2.ui.page import Viewport, errors_in_words, note, paced
from gpt2.ui.picture import Drawing, clicked
from gpt2.ui.served import values
from gpt2.ui.strip import MOST_PROMPT_TOKENS, Numbers, class_strip, legend, token_strip

HOSTILE = ("<img src=x onerror=f()>", '"onmouseover="f()', "'><script>f()</script>", "&lt;b&gt;")


class Tags(HTMLParser):
    """The tags, attributes and text that a browser would see."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def some_numbers(count):
    return Numbers(np.linspace(0.01, 1, count), np.arange(1, count + 1), np.linspace(0, 9, count))


# --- the strip -------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["probability", "rank", "entropy"])
@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_strip_shows_hostile_tokens_as_text(by, theme):
    pieces = ["first", *HOSTILE, *HOSTILE]
    html = token_strip(pieces, some_numbers(4), prompt_length=5, by=by, theme=theme, selected=6)
    seen = Tags(html)
    assert seen.tags == {"div", "span", "button"}
    assert not {name for name in seen.attributes if name.startswith("on") or name == "src"}
    assert all(seen.text.count(piece) == 2 for piece in HOSTILE)


def test_the_strip_numbers_its_tokens_and_marks_one():
    html = token_strip(
        ["a", " b", "\n", "d"], some_numbers(2), prompt_length=2, by="rank", theme=LIGHT, selected=2
    )
    assert re.findall(r'data-index="(\d+)" aria-pressed="(\w+)"', html) == [
        ("1", "false"),
        ("2", "true"),
        ("3", "false"),
    ]  # the first token was predicted from nothing and can't be chosen
    assert 'title="1.0 % · rank 1 · entropy 0.0 nats"' in html or "rank 1 ·" in html


def test_the_strip_shows_a_tokens_own_text():
    """A middle dot is a letter in Catalan; it was shown as a space, and so was a literal ⏎."""
    texts = ["La", " col", "·", "lecció", "⏎", "\n", "<b>"]
    html = token_strip(texts, None, prompt_length=7, by="rank", theme=LIGHT)
    seen = Tags(html)
    assert seen.text == "La col·lecció⏎⏎\n<b>"
    assert html.count('class="mark"') == 1


def test_of_a_long_prompt_only_the_end_is_shown():
    pieces = [f"p{n}" for n in range(1000)]
    html = token_strip(pieces, None, prompt_length=1000, by="rank", theme=LIGHT)
    assert html.count("<button") == MOST_PROMPT_TOKENS
    assert "936 earlier tokens" in html
    assert 'data-index="999"' in html


def test_the_reading_strip_shows_hostile_text_and_labels_as_text():
    probs = np.eye(4)
    seen = Tags(class_strip(list(HOSTILE), probs, list(HOSTILE)))
    assert seen.tags == {"div", "span"}
    assert not {name for name in seen.attributes if name.startswith("on")}


@pytest.mark.parametrize("by", ["probability", "rank", "entropy"])
def test_every_tint_has_a_legend(by):
    assert Tags(legend(by, theme=DARK)).text.startswith(by)


# --- words -----------------------------------------------------------------------------------


def trace(**changes):
    values = {
        "model": "<tiny>",
        "prompt": "",
        "prompt_ids": (1,),
        "truncated": 0,
        "completion": "",
        "steps": (),
        "seed": 3,
        "finish_reason": "length",
        "seconds": 1.0,
    }
    return Trace(**values | changes)


def test_the_status_tells_seed_model_end_and_what_was_dropped():
    said = Tags(status_line(trace(truncated=1234))).text
    assert "seed 3 · <tiny> · stopped: length" in said
    assert "the first 1,234 tokens of the prompt were dropped" in said
    assert "dropped" not in status_line(trace())


@pytest.mark.parametrize("reason", ["length", "eos", "stop", "context", "deadline", "cancelled"])
def test_every_end_has_words(reason):
    assert "stopped: " in status_line(trace(finish_reason=reason))


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
    assert settings_words(60, 1, 0, 1, 0, "\n").endswith('stop at "\\n"')


def test_settings_and_limits_in_words(engine):
    assert (
        settings_words(60, 0.8, 50, 1.2, 3)
        == "Settings: temperature 0.8 · top-k 50 · penalty 1.2 · 60 tokens · seed 3"
    )
    assert settings_words(60, 0, 0, 1, None) == "Settings: greedy · all tokens · 60 tokens · seed 0"
    limits, said = Limits(), limits_words(engine)
    for number in (f"{limits.prompt_chars:,}", limits.new_tokens, f"{limits.seconds:g} s"):
        assert str(number) in said


def drawing(alt="A picture.", name="picture"):
    columns = {"token": ["·a", ",", '"'], "prob": [0.5, 0.25, 0.25]}
    picture = SimpleNamespace(
        figure=lambda theme, width: Figure(figsize=(1, 1)),
        alt=lambda: alt,
        columns=lambda: columns,
    )
    return Drawing(picture, Viewport(100, LIGHT), name, clickable=True)


def test_notes_and_drawings_escape_what_they_say():
    for hostile in HOSTILE:
        assert Tags(note(hostile)).tags == {"p"}
        seen = Tags(drawing(hostile, hostile).html())
        assert seen.tags == {"figure", "img", "figcaption", "span", "button"}
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


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"x": 0.5, "y": 0, "width": 760}, (0.5, 0.0, 760)),
        ({"x": 0.5, "y": -1, "width": 760}, None),
        ({"x": "0.5", "y": 0, "width": 760}, None),
        ({"x": float("nan"), "y": 0, "width": 760}, None),
        ({"x": 0.5}, None),
        (None, None),
        ([1], None),
    ],
)
def test_a_click_that_is_none_is_ignored(data, place):
    assert clicked(SimpleNamespace(_data=data)) == place


@pytest.mark.parametrize(
    ("raw", "width", "theme"),
    [
        ({"width": 500, "dark": True}, 466, DARK),
        ({"width": 1, "dark": False}, 300, LIGHT),
        ({"width": 10**9}, 1040, LIGHT),
        ({"width": True, "dark": 1}, 1006, LIGHT),
        ({"width": "500"}, 1006, LIGHT),
        (None, 1006, LIGHT),
        ([1, 2], 1006, LIGHT),
        ("x", 1006, LIGHT),
    ],
)
def test_a_screen_that_is_none_is_a_desktop(raw, width, theme):
    assert Viewport.read(raw) == Viewport(width, theme)


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
    models = [fn for fn in app.fns.values() if fn.concurrency_id == "model"]
    assert len(models) >= 10
    assert {fn.concurrency_limit for fn in models} == {4}


def test_no_template_is_filled_with_text(app):
    """Gradio runs {{...}} templates of its HTML component as code."""
    for block in app.blocks.values():
        if block.get_block_name() == "html":
            assert block.html_template == "${value}"


def test_what_could_leave_the_machine_is_off():
    options = launch_options()
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert options["ssr_mode"] is options["run_history"] is options["enable_monitoring"] is False
    assert options["show_error"] is False


# --- the shield ------------------------------------------------------------------------------


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
        scope = {"type": kind, "method": "POST", "path": "/", "headers": headers}
        pool.submit(lambda: asyncio.run(Guard(app)(scope, receive, send))).result()
    return sent, read


def test_the_shield_lets_a_body_of_the_limit_through_and_adds_headers():
    length = (b"content-length", str(MAX_BODY).encode())
    sent, read = shielded([length], [b"x" * MAX_BODY])
    assert sent[0]["status"] == 200
    assert len(read[0]["body"]) == MAX_BODY
    names = {name for name, _ in sent[0]["headers"]}
    assert names == {b"x-content-type-options", b"referrer-policy"}


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
    passes.clear()
    for place in range(1, len(trace.ids)):
        shown = keep(trace, request, selected=place)
        step = fresh_engine.inspector.step(shown.ids, place, sampling, model="tiny")
        picture = token_drawing(fresh_engine, shown, step, Viewport(760, LIGHT))
        drawn = place >= len(trace.prompt_ids)
        assert ("random number" in picture.picture.alt()) is drawn, place
    assert passes == [len(trace.ids)]
