"""The Content-Security-Policy of each answer; browser/test_injection.py tries it in a browser."""

import base64
import hashlib
import re

import httpx
import pytest

from gpt2.ui.server.policy import with_policy


@pytest.fixture(scope="module")
def http(page_server):
    with httpx.Client(base_url=page_server.url, timeout=30) as made:
        yield made


def directives(answer):
    policy = answer.headers["content-security-policy"]
    return {part.split()[0]: part.split()[1:] for part in policy.split(";")}


def test_the_page_runs_its_own_scripts_alone(http):
    answer = http.get("")
    found = directives(answer)
    scripts = re.findall(r"<script(?![^>]* src=)[^>]*>(.*?)</script>", answer.text, re.DOTALL)
    assert len(scripts) > 3
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in found["script-src"]
    others = {word for word in found["script-src"] if not word.startswith("'sha256-")}
    assert others == {"'self'", "'unsafe-eval'"}
    assert found["default-src"] == ["'none'"]
    assert found["connect-src"] == ["'self'"]


def test_a_page_that_did_not_change_keeps_its_policy(http):
    first = http.get("")
    again = http.get("", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert directives(again) == directives(first)


@pytest.mark.parametrize("path", ["config", "theme.css", "gradio_api/info", "nowhere"])
def test_what_is_no_page_may_do_nothing(http, path):
    found = directives(http.get(path))
    assert found["default-src"] == ["'none'"]
    assert "script-src" not in found


def test_other_pages_may_show_this_one_in_a_frame(http):
    answer = http.get("")
    assert "frame-ancestors" not in directives(answer)
    assert "x-frame-options" not in answer.headers


def test_an_answers_own_headers_stay():
    headers = with_policy([(b"Content-Security-Policy", b"sandbox"), (b"a", b"b")])
    names = [name.lower() for name, _ in headers]
    assert names.count(b"content-security-policy") == 1
    assert b"x-content-type-options" in names
