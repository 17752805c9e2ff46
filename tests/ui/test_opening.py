"""What stands on the page before Gradio has built it: the example, and what carries it there."""

import asyncio
import gzip
import json
import re
import threading
from types import SimpleNamespace

import pytest
from streams import collected

from gpt2.ui import build_app
from gpt2.ui.example import WIDTHS, asked_of
from gpt2.ui.opening import Opening, in_script, snapshot
from gpt2.ui.presets import OPENING, PRESETS
from gpt2.ui.server.policy import page_policy

VISITOR = SimpleNamespace(session_hash="visitor")


@pytest.fixture(scope="module")
def app(engine):
    return build_app(engine)


@pytest.fixture(scope="module")
def made(app):
    return app.example.make()


def parsed(lines):
    """The lines without what differs from one run to the next."""
    found = [json.loads(line) for line in lines.splitlines()]
    for line in found:
        if line[0] == "text":
            line[1].pop("moment")
        if line[0] == "end":
            line[1]["status"] = re.sub(r"\d+ tokens/s", "", line[1]["status"])
    return [line for line in found if line[0] != "said"]


# --- the example ---------------------------------------------------------------------------------


def test_the_example_is_the_text_that_its_preset_writes_on_the_page(app, engine, made):
    writing = app.example._writing
    wanted = writing.preset(OPENING, engine.catalog.models[0])
    *_, last = collected(writing.write(lambda: wanted, {"moment": 5}, VISITOR))
    assert parsed(made["lines"]) == parsed(last[writing.strip])


def test_the_example_s_picture_is_the_one_that_its_view_draws(app, made):
    view = app.example._views[made["view"]]
    assert [width for width, _ in made["answers"]] == list(WIDTHS)
    for width, answer in made["answers"]:
        asked = asked_of(made["lines"])
        asked["look"]["width"] = width
        *_, drawn = view._drawn(asked)
        assert json.loads(drawn[view.frame]) == answer
        assert answer["done"]
        assert "<svg" in answer["slots"]["bars"]["html"]


def test_the_example_selects_what_its_preset_speaks_of(made):
    asked = asked_of(made["lines"])
    end = parsed(made["lines"])[-1][1]
    assert asked["look"]["token"] == end["selected"]
    assert end["look"]["view"] == made["view"] == OPENING.view
    assert end["preset"][2].startswith(OPENING.words)


def test_a_page_has_no_example_before_it_is_made_and_shares_it_after(app):
    example = app.example
    assert example.get() is None
    done = []
    example.start(then=lambda: done.append(True))
    with example._working:  # until it is made
        assert done
    assert example.get() is example.get() is not None


def test_an_example_of_other_weights_is_made_anew(app, monkeypatch):
    example = app.example
    monkeypatch.setattr(example, "_made", ("of other weights", {"lines": ""}))
    assert example.get() is None
    with example._working:
        pass
    assert example.get()["lines"]


# --- what looks like the page --------------------------------------------------------------------


def test_the_skeleton_has_what_the_page_has_and_no_field_to_type_into(app):
    assert OPENING.prompt in app.skeleton
    assert all(preset.name in app.skeleton for preset in PRESETS)
    for name in ("strip", "generate-next", "generate-inspector", "prompt"):
        assert f'id="{name}"' in app.skeleton
    assert "Type the beginning" not in app.skeleton
    assert 'id="classify-text"' not in app.skeleton  # of a tab that is not open


def test_a_snapshot_holds_the_example_and_nothing_in_it_ends_the_script():
    example = {"lines": "</script><script>alert(1)</script><!--", "view": "next", "answers": []}
    html = snapshot("<p>page</p>", example, "container")
    written = html.partition('id="example">')[2].partition("</script>")[0]
    assert json.loads(written) == example
    assert "<" not in written
    assert html.count("</script>") == 2
    assert 'aria-hidden="true" inert' in html
    assert snapshot("<p>page</p>", None, "container") == ""


def test_json_in_a_script_is_the_same_json():
    text = json.dumps(["<", "a<!--b", "\u2028"])
    assert json.loads(in_script(text)) == json.loads(text)


# --- the middleware ------------------------------------------------------------------------------

PAGE = (
    b"<html><head></head><body class='x'><script>window.gradio_config = {};</script></body></html>"
)


def answer(parts, *, kind=b"text/html; charset=utf-8", status=200, method="GET", headers=()):
    """What a browser gets of an answer that came in parts: its start, its headers and its body."""

    async def inner(scope, receive, send):
        length = str(sum(map(len, parts))).encode()
        start = [(b"content-type", kind), (b"content-length", length)]
        await send({"type": "http.response.start", "status": status, "headers": start})
        for n, part in enumerate(parts):
            more = n + 1 < len(parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})

    sent = []

    async def send(message):
        sent.append(message)

    opening = Opening(
        inner,
        head=lambda scope: "<style></style>",
        body=lambda scope: "<b>shown</b>",
        policy=page_policy,
    )
    scope = {"type": "http", "method": method, "headers": list(headers)}
    asyncio.run(opening(scope, None, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


@pytest.mark.parametrize("parts", [[PAGE], [PAGE[:20], PAGE[20:50], PAGE[50:]], [PAGE, b""]])
def test_a_page_is_filled_however_it_comes(parts):
    status, headers, body = answer(parts)
    assert status == 200
    assert b"<style></style></head>" in body
    assert body.endswith(b"<b>shown</b></body></html>")
    assert b"<body class='x'><script>{" in body  # its theme, before anything is drawn
    assert headers[b"content-length"] == str(len(body)).encode()


@pytest.mark.parametrize(
    ("html", "kind"), [(b"<body>an error</body>", b"text/html"), (PAGE, b"application/json")]
)
def test_what_is_not_the_page_stays_as_it_is(html, kind):
    status, _, body = answer([html], kind=kind, status=404)
    assert (status, body) == (404, html)


def test_a_page_is_packed_for_browsers_that_unpack():
    _, plain, whole = answer([PAGE])
    _, headers, body = answer([PAGE], headers=[(b"accept-encoding", b"br, gzip")])
    assert headers[b"content-encoding"] == b"gzip"
    assert gzip.decompress(body) == whole
    assert b"content-encoding" not in plain


def test_a_page_that_did_not_change_is_not_sent_again():
    _, headers, _ = answer([PAGE])
    tag = [(b"if-none-match", headers[b"etag"])]
    assert answer([PAGE], headers=tag)[::2] == (304, b"")
    assert answer([PAGE + b" "], headers=tag)[0] == 200


def test_a_head_has_no_body_and_no_length_of_another_one():
    status, headers, body = answer([PAGE], method="HEAD")
    assert (status, body) == (200, b"")
    assert b"content-length" not in headers


def test_an_error_before_the_page_is_there_is_passed_on():
    async def fails(scope, receive, send):
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/html")],
            }
        )
        raise RuntimeError

    async def send(message):
        raise AssertionError(message)

    opening = Opening(fails, head=str, body=str, policy=bytes)
    with pytest.raises(RuntimeError):
        asyncio.run(opening({"type": "http", "method": "GET", "headers": []}, None, send))


def test_a_page_that_is_closed_waits_for_its_example_and_makes_none_any_more(engine):
    """A process that ended while the model wrote it was aborted."""
    example, threads = build_app(engine).example, threading.active_count()
    example.start()
    assert threading.active_count() > threads
    example.stop()
    assert threading.active_count() == threads
    example.start()
    assert threading.active_count() == threads
