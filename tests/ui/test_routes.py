"""The routes of the running page: what it does not need answers nobody."""

import re

import httpx
import pytest
from walked import filled, routes_of

from gpt2.ui.server.routes import OPEN

# What Gradio brings along; whatever else it may bring one day is found by walking its routes.
CLOSED = [
    *("gradio_api/upload", "gradio_api/deep_link", "gradio_api/run/score", "gradio_api/api/score"),
    *("monitoring", "monitoring/summary", "gradio_api/component_server", "gradio_api/vibe-code"),
    *("gradio_api/file=README.md", "gradio_api/file/README.md", "gradio_api/token"),
    *("gradio_api/proxy=https://example.com/a", "gradio_api/process_recording", "gradio_api/runs"),
    *("gradio_api/stream/a", "gradio_api/dev/reload", "gradio_api/openapi.json", "docs", "redoc"),
    *("openapi.json", "//gradio_api/upload", "gradio_api/../gradio_api/upload", "svelte/a.js"),
]


@pytest.fixture(scope="module")
def http(page_server):
    with httpx.Client(base_url=page_server.url, timeout=30) as made:
        yield made


@pytest.fixture(scope="module")
def routes(engine):
    """Those of the page, as another one like it has them."""
    return routes_of(engine)


def test_of_gradios_routes_only_those_that_the_page_needs_answer(http, routes):
    """A route that a new version of Gradio brings is closed until somebody needs it."""
    listed = {(method, path) for method, paths in OPEN.items() for path in paths}
    assert len(routes) > 60
    for method, path in sorted(routes):
        bare = re.sub(r"{(\w+)(:path)?}", r"{\2}", path.rstrip("/") or "/")
        needed = {(m, re.sub(r"{(\w+)(:path)?}", r"{\2}", p)) for m, p in listed}
        if ({"HEAD": "GET"}.get(method, method), bare) in needed:
            continue
        answer = http.request(method, filled(path))
        assert answer.status_code in (404, 405), (method, path)
        if method != "HEAD":
            assert re.match(r"th(ere|is) .* address", answer.json()["detail"]), (method, path)


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_what_the_page_does_not_need_is_not_there(http, method, path):
    answer = http.request(method, path, json={"data": ["x"], "fn_index": 0})
    assert (answer.status_code, answer.json()["detail"][:8]) == (404, "there is")


@pytest.mark.parametrize("query", ["page=x", "deep_link=abc", "a=b&page=x"])
@pytest.mark.parametrize("path", ["", "config"])
def test_a_page_that_is_not_there_is_told_in_words(http, path, query):
    answer = http.get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["detail"][:8]) == (404, "there is")


def test_another_method_is_told_in_words(http):
    answer = http.post("config")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.json()["detail"] == "this address takes GET alone"


def test_an_address_under_the_page_that_holds_nothing_is_told_in_words(http):
    answer = http.get("static/nothing.js")
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "there is nothing at this address",
    )


def test_the_page_and_what_it_is_made_of_answer(http):
    for path in ("", "config", "theme.css", "manifest.json", "gradio_api/info", "favicon.ico"):
        assert http.get(path).status_code == 200, path
    assert http.head("").status_code == 200


@pytest.mark.parametrize("host", ["[::1", "a:x", "<b>", "a b", "\xa3.example", "[]:1"])
@pytest.mark.parametrize("name", ["host", "x-forwarded-host"])
def test_a_host_that_is_none_is_told_in_words(page_server, http, name, host):
    """Gradio made an address of it, and failed: a bare 500, and an event that never ended."""
    header = {name: host.encode("latin-1")}
    for answer in (
        http.get("", headers=header),
        http.post("gradio_api/call/models", json={"data": []}, headers=header),
    ):
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(f"the header {name} names no host")
    assert "Traceback" not in page_server.log()


def test_an_address_of_what_can_not_be_seen_holds_nothing(http):
    assert http.get("gradio_api/heartbeat/%00").status_code == 404
    assert http.get("", headers={"x-gradio-server": "http://[::1"}).status_code == 400


def test_nobody_is_told_the_address_that_somebody_else_used(page_server, http):
    """Gradio kept the examples of its API as the first visitor's address made them."""
    elsewhere = http.get("gradio_api/info", headers={"x-forwarded-host": "elsewhere.example"})
    assert "elsewhere.example" in elsewhere.text
    assert "elsewhere.example" not in http.get("gradio_api/info").text
