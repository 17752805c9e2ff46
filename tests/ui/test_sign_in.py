"""A page with a password: what a stranger gets, how it is given, and how it is guessed."""

import asyncio
import base64
import sys
import time
from pathlib import Path

import httpx
import pytest
from programs import free_port
from walked import filled, routes_of

from gpt2.ui.server import tries
from gpt2.ui.server.routes import OPEN

APP = Path(__file__).resolve().parents[2] / "app.py"
NAME, PASSWORD = "ann", "se:cret wörd"
TOOLS = [(method, path) for method, paths in OPEN.items() for path in paths if "mcp" in path]
FORM = {"accept": "text/html"}  # as a browser sends a form
IN_LINE = int(tries.LONGEST / tries.PAUSE)  # tries that may wait


@pytest.fixture(scope="module")
def locked(starter, tmp_path_factory, model_directory, classifier_directory):
    """The address of a page with a password."""
    port = free_port()
    flags = ("--model", model_directory, "--classifier", classifier_directory, "--port", port)
    log = tmp_path_factory.mktemp("locked") / "log"
    command = [sys.executable, APP, *flags, "--auth", f"{NAME}:{PASSWORD}"]
    with open(log, "w") as out, starter.start(command, stdout=out, stderr=out) as process:
        end = time.monotonic() + 90
        while "Open " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
        process.kill()


ADDRESSES = iter(range(1, 200))


def somebody(locked, *, last=None, **more):
    """A visitor of an address of their own, or of this one."""
    address = f"127.0.1.{last or next(ADDRESSES)}"
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(base_url=locked, timeout=30, transport=transport, **more)


@pytest.fixture
def stranger(locked):
    with somebody(locked) as made:
        yield made


def basic(name=NAME, password=PASSWORD):
    """The header of HTTP Basic credentials."""
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_a_stranger_gets_no_answer_on_any_route(stranger, engine):
    """Gradio's page, its functions, its heartbeats and the tools answered everybody."""
    routes = {
        *routes_of(engine),
        *TOOLS,
        *((m, path) for m, paths in OPEN.items() for path in paths),
    }
    assert len(routes) > 70
    for method, path in sorted(routes):
        if path.rstrip("/") in ("", "/login", "/health"):
            continue
        answer = stranger.request(method, filled(path))
        assert answer.status_code in (401, 404, 405), (method, path)
        if answer.status_code == 401 and method != "HEAD":
            assert answer.json()["detail"].startswith("sign in first"), (method, path)


def test_a_stranger_sees_a_form_and_nothing_of_the_page(stranger):
    answer = stranger.get("")
    assert answer.status_code == 200
    assert 'name="password"' in answer.text
    assert "script" not in answer.text
    assert not any(word in answer.text for word in ("gradio", "/generate", "mini", "tiny"))
    assert answer.headers["cache-control"] == "no-store"


def test_a_stranger_is_told_whether_the_page_is_well_and_no_more(stranger):
    assert stranger.get("health").json() == {"status": "ok"}


def test_who_has_signed_in_is_told_more_of_how_it_is(stranger):
    assert stranger.get("health", headers=basic(password="x")).status_code == 401
    told = stranger.get("health", headers=basic()).json()
    assert told["status"] == "ok"
    assert told["writing"] == told["waiting"] == 0
    assert stranger.get("health").json() == told  # by the cookie that came with it


def test_a_stranger_is_not_told_which_functions_there_are(stranger):
    for name in ("score", "nothing"):
        answer = stranger.post(f"gradio_api/call/{name}", json={"data": 5})
        assert (answer.status_code, answer.json()["detail"][:13]) == (401, "sign in first")


def test_the_form_leads_to_the_page(locked):
    with httpx.Client(base_url=locked, follow_redirects=True) as visitor:
        answer = visitor.post("login", data={"username": NAME, "password": PASSWORD}, headers=FORM)
        assert (answer.status_code, str(answer.url)) == (200, locked)
        assert "gradio_config" in answer.text
        assert visitor.get("config").json()["username"] == NAME
        assert visitor.get("logout").status_code == 200
        assert visitor.get("config").status_code == 401


def test_in_a_frame_a_cookie_is_kept_or_the_visitor_told_that_none_is(locked, stranger):
    """The form came back without a word, whatever was typed."""
    form = {"username": NAME, "password": PASSWORD}
    with httpx.Client(base_url=locked) as visitor:
        answer = visitor.post("login", data=form, headers=FORM | {"sec-fetch-dest": "iframe"})
    cookies = answer.headers.get_list("set-cookie")
    assert any(cookie.endswith("SameSite=none; Secure; Partitioned") for cookie in cookies)
    shown = answer.headers["location"]
    assert "your browser keeps no cookie of this page" in stranger.get(shown).text
    forgotten = {"cookie": "access-token-of-a-page-before=1"}
    assert 'role="alert"' not in stranger.get(shown, headers=forgotten).text


def test_a_wrong_password_is_told_where_it_was_typed(stranger):
    answer = stranger.post("login", data={"username": NAME, "password": "x"}, headers=FORM)
    assert answer.status_code == 401
    assert '<p role="alert">The name or the password is wrong.</p>' in answer.text
    assert 'name="password"' in answer.text


@pytest.mark.parametrize(
    ("name", "password"),
    [(NAME, ""), ("", ""), (PASSWORD, NAME), (NAME.upper(), PASSWORD), (NAME, PASSWORD + " ")],
)
def test_a_password_that_is_not_the_one_opens_nothing(stranger, name, password):
    assert stranger.get("config", headers=basic(name, password)).status_code == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic YW5u", "Bearer x", "Basic /w=="])
def test_credentials_that_are_none_are_a_strangers(stranger, header):
    answer = stranger.get("config", headers={"authorization": header})
    assert (answer.status_code, answer.json()["detail"][:13]) == (401, "sign in first")
    assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("body", [b"", b"username=ann", b"{}", b"\xff=\xff", b"a&" * 1000])
def test_a_form_that_is_none_is_told_in_words(stranger, body):
    answer = stranger.post("login", content=body)
    assert (answer.status_code, answer.json()["detail"][:13]) == (400, "send username")


def test_gradios_client_and_plain_http_use_the_same_password(locked):
    from gradio_client import Client

    client = Client(locked, auth=(NAME, PASSWORD), verbose=False)
    found = client.predict("Hello world", api_name="/score")
    client.close()
    with httpx.Client(base_url=locked, headers=basic()) as http:
        sent = http.post("gradio_api/call/score", json={"data": ["Hello world"]}).json()
        text = http.get(f"gradio_api/call/score/{sent['event_id']}").text
    assert text.startswith("event: complete")
    assert f'"nll": {found["nll"]}' in text


def test_a_cookie_does_not_serve_another_sites_script(locked):
    with httpx.Client(base_url=locked) as visitor:
        visitor.post("login", data={"username": NAME, "password": PASSWORD})
        elsewhere = {"sec-fetch-site": "cross-site", "origin": "https://example.com"}
        script = visitor.get("config", headers=elsewhere | {"sec-fetch-mode": "cors"})
        framed = visitor.get("", headers=elsewhere | {"sec-fetch-mode": "navigate"})
    assert script.status_code == 401
    assert "www-authenticate" not in script.headers  # a browser would ask for it in a window
    assert "gradio_config" in framed.text


def guessing(locked, last, meanwhile=lambda: None):
    """40 passwords are tried at once, from an address; what was answered, line or no line."""
    address = f"127.0.1.{last}"

    async def guess():
        transport = httpx.AsyncHTTPTransport(local_address=address)
        async with httpx.AsyncClient(base_url=locked, transport=transport) as guesser:
            tried = [
                asyncio.create_task(
                    guesser.post("login", data={"username": NAME, "password": str(number)})
                )
                for number in range(40)
            ]
            end = time.monotonic() + 10
            while sum(one.done() for one in tried) < 40 - IN_LINE and time.monotonic() < end:
                await asyncio.sleep(0.02)
            found = [one.result() for one in tried if one.done()]
            await asyncio.to_thread(meanwhile)
            for one in tried:
                one.cancel()
            await asyncio.gather(*tried, return_exceptions=True)
        return found

    return asyncio.run(guess())


def test_guessing_is_slowed_down_and_told(locked):
    """882 passwords were tried in five seconds."""
    form = []

    def right():
        with somebody(locked, last=200) as visitor:
            given = {"username": NAME, "password": PASSWORD}
            form.append(visitor.post("login", data=given, headers=FORM))

    answers = guessing(locked, 200, right)
    looked_at = [answer for answer in answers if answer.status_code == 401]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(looked_at) <= tries.FREE + 1
    assert len(looked_at) + len(refused) == len(answers)
    assert len(answers) <= 40 - IN_LINE + 1
    assert "too many wrong passwords came from your address" in refused[0].json()["detail"]
    assert 1 <= int(refused[0].headers["retry-after"]) <= 60
    assert form[0].status_code == 429
    assert "Too many wrong passwords" in form[0].text


def test_guesses_from_an_address_do_not_keep_those_out_who_are_in_there(locked):
    """Behind a proxy all have one address, and a stranger could lock all out for five minutes."""
    with (
        somebody(locked, last=201) as page,
        somebody(locked, last=201, headers=basic()) as program,
        somebody(locked, last=201) as other,
    ):
        page.post("login", data={"username": NAME, "password": PASSWORD})
        assert program.get("config").status_code == 200

        def ask():
            for _ in range(2 * tries.FREE):
                assert page.get("config").status_code == 200
                assert program.get("config").status_code == 200
            assert other.get("config", headers=basic("bob")).status_code == 401

        guessing(locked, 201, ask)


def test_a_right_password_is_never_counted(locked):
    """A program that sends it with each of its requests, and keeps no cookies."""
    for _ in range(4 * tries.FREE):
        answer = httpx.get(f"{locked}config", headers=basic())
        assert answer.status_code == 200
