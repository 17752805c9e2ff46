"""Calls that no program would send, and what is wrong with the answers to them."""

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from random import Random
from tempfile import gettempdir
from typing import Any

import httpx

from gpt2.ui.server.routes import OPEN
from gpt2.ui.server.served import UNFORESEEN

ROOT = Path(__file__).resolve().parents[2]
MARK = "MARKEDWORD"  # in all that is typed; the log may not hold it
REFUSALS = (400, 404, 405, 413, 422, 429, 503)
PATHS = (str(ROOT), sys.prefix, "site-packages", f"{gettempdir()}/", 'File "')
FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**63, -(2**63), 0.5, 1e99, -0.0, float("nan"), float("inf")),
    *("", " ", "0", f"{MARK}", f"{MARK}\ud800", f"\x00{MARK}", f"\u202e{MARK}", "\U0001f600", "a"),
    *(f"{MARK}" * 3000, f"../../{MARK}", f"/etc/{MARK}", f"http://127.0.0.1:9/{MARK}"),
    *(f"<img src=x onerror={MARK}>", f"{{{{{MARK}}}}}", f"${{{MARK}}}", "%s%n", "\\", "\r\n"),
    *([], [[]], [0, 0, 0], [[0, 0, 0]], [[0, 0], [1, 2]], [[0, 0, None]], [[[]]], ["a"] * 50),
    *({}, {MARK: MARK}, FILE, {"__type__": "update", "value": MARK}, {"tab": "generate"}),
)
EXTRAS = ("session_hash", "fn_index", "event_id", "event_data", "trigger_id", "simple_format")
EXTRAS += ("batched", "request", "oauth_token", "data", MARK)
VIEWS = ("next", "attention", "layers", "switch", "why", "score", "decided", "many", "topic")
SETTINGS = {"temperature": 0.7, "top_k": 40, "top_p": 1, "min_p": 0, "repetition_penalty": 1.2}
SETTINGS |= {"seed": 3, "max_new_tokens": 4, "stop": ""}
TYPES = ("application/json", "text/plain", "multipart/form-data; boundary=x", "", MARK)
QUERIES = ("", "session_hash=x", "all_endpoints=1", "page=x", "deep_link=..", f"{MARK}=%00", "%%%")
HEADERS: tuple[dict[str, str | bytes], ...] = (
    {},
    {"origin": "http://evil.example"},
    {"x-forwarded-host": f"{MARK}.example"},
    *(
        {"x-forwarded-host": host}
        for host in ("[::1", "a:x", f"{MARK}é".encode("latin-1"), "[]:1", "a:99999", "")
    ),
    *({"host": host} for host in ("[::1", f"<{MARK}>", "a:x", "..", "xn--a", "-", "a" * 300)),
    {"x-gradio-server": f"http://[{MARK}"},
    {"x-forwarded-proto": MARK},
    {"x-gradio-user": "mcp"},
    {"cookie": f"access-token-x={MARK}"},
    {"authorization": f"Basic {MARK}"},
    {"range": "bytes=0-"},
    {"if-none-match": "*"},
    {"accept": MARK},
    {"accept-encoding": "br"},
    {"referer": f"http://127.0.0.1/{MARK}"},
)
SEEN = 200_000  # bytes of an answer that never ends, at most


class Fuzzer:
    """Sends calls to a page, the same ones for the same seed."""

    def __init__(self, url: str, seed: int, call: Callable[..., Any] | None = None) -> None:
        """Look at what there is.

        Args:
            call: sends the values by another program: its endpoint, then the values.
        """
        self.random, self._call = Random(seed), call
        self.http = httpx.Client(base_url=url, timeout=30)
        endpoints = self.http.get("gradio_api/info").json()["named_endpoints"]
        self.endpoints = {name[1:]: found["parameters"] for name, found in endpoints.items()}
        self.functions = self.http.get("config").json()["dependencies"]
        models = [self._model(kind) for kind in ("models", "classifiers")]
        self.models = dict(zip(("generate", "classify"), models, strict=True))

    def __enter__(self) -> "Fuzzer":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def complaints(self, calls: int) -> Iterator[str]:
        """What is wrong with the answers to so many calls, and to which."""
        ways = [self.by_order, self.by_name, self.joined, self.mangled, self.raw, self.garbled]
        ways += [self.by_program] if self._call else []
        for number in range(calls):
            way = self.random.choice(ways)
            try:
                found = way()
            except httpx.HTTPStatusError as error:  # of a program; what it was told
                found = _refused(error.response)
            except (httpx.HTTPError, OSError) as error:
                found = f"no answer: {type(error).__name__}"
            if found:
                yield f"call {number}, {way.__name__}: {found}"

    def values(self, endpoint: str) -> dict[str, Any]:
        """Values that an endpoint takes, most of the time one or two of them spoilt."""
        found = {
            one["parameter_name"]: one.get("parameter_default") if one["parameter_has_default"] else
            {"ids": [15496, 995, 11], "position": 2, "token": 262}.get(one["parameter_name"], "Hi")
            for one in self.endpoints[endpoint]
        }  # fmt: skip
        if "max_new_tokens" in found:
            found["max_new_tokens"] = self.random.randint(1, 8)
        for _ in range(self.random.randint(0, 2)):
            if found:
                found[self.random.choice(list(found))] = self.nasty()
        return found

    def nasty(self) -> Any:
        """One of the values that are no good."""
        return self.random.choice(NASTY)

    def record(self) -> Any:
        """What the page sends of itself, most of the time with something in it spoilt."""
        tab = self.random.choice(("generate", "classify"))
        look = {"view": self.random.choice(VIEWS), "token": 2, "layer": 1, "head": 0, "width": 700}
        settings = dict(SETTINGS)
        text = {"model": self.models[tab], "prompt": "Hi", "settings": settings}
        text |= {"chosen": [[2, 5]], "ids": [17250, 995, 5, 7], "prompt_length": 1}
        found: Any = {"key": "[1]", "tab": tab, "text": text, "look": look, "moment": 9, "kept": []}
        wanted = {"link": f"#v=1.{tab}.{MARK}", "preset": MARK, "typed": "a b", "place": 3} | text
        for name in self.random.sample(("link", "preset", "typed"), self.random.randint(1, 3)):
            del wanted[name]
        found |= {"slot": "map", "file": "csv", "wanted": wanted}
        if self.random.random() < 0.2:
            return self.nasty()
        for _ in range(self.random.choice((0, 1, 1, 2))):
            part = self.random.choice((found, text, look, wanted, settings))
            part[self.random.choice(list(part))] = self.nasty()
        return found

    def by_order(self) -> str | None:
        name = self.random.choice(list(self.endpoints))
        data = list(self.values(name).values())
        for _ in range(self.random.choice((0, 0, 0, 1, 5))):
            data = data[:-1] if self.random.random() < 0.5 else [*data, self.nasty()]
        return self._followed(name, f"call/{name}", {"data": data})

    def by_name(self) -> str | None:
        name = self.random.choice(list(self.endpoints))
        body = self.values(name)
        for _ in range(self.random.choice((0, 0, 0, 1))):
            body[self.random.choice(EXTRAS)] = self.nasty()
        return self._followed(name, f"call/v2/{name}", body)

    def joined(self) -> str | None:
        """As the page itself calls, its own functions too."""
        function, session = self.random.choice(self.functions), f"s{self.random.random()}"
        data = [self.record() for _ in function["inputs"]]
        if self.random.random() < 0.2:
            data = data[: self.random.randint(0, 3)] + [self.nasty()] * self.random.randint(0, 3)
        body = {"data": data, "fn_index": function["id"], "session_hash": session}
        for _ in range(self.random.choice((0, 0, 1))):
            body[self.random.choice(EXTRAS)] = self.nasty()
        if not function["queue"] and self.random.random() < 0.8:
            answer = self._post("run/predict", json.dumps(body))
            return None if answer.status_code == 200 else _refused(answer)
        answer = self._post("queue/join", json.dumps(body))
        if answer.status_code != 200:
            return _refused(answer)
        if body["session_hash"] != session or "simple_format" in body:
            return None
        text = self.http.get("gradio_api/queue/data", params={"session_hash": session}).text
        messages = [json.loads(part.removeprefix("data: ")) for part in text.split("\n\n") if part]
        if bad := _told(text):
            return bad
        ends = [one for one in messages if one["msg"] in ("process_completed", "unexpected_error")]
        if not ends:
            return f"{body} has no end: {text[:300]}"
        last = ends[0]
        words = (last.get("output") or {}).get("error") if "output" in last else last["message"]
        return None if last.get("success") else _no_sentence(words, f"{str(body)[:300]}")

    def mangled(self) -> str | None:
        """A body that is broken somewhere, with a header that may be too."""
        name = self.random.choice(list(self.endpoints))
        path = self.random.choice(
            (f"call/{name}", f"call/v2/{name}", "queue/join", "run/predict", "cancel", "reset")
        )
        body = {"data": list(self.values(name).values()), "session_hash": "x", "fn_index": 0}
        raw = bytearray(json.dumps(body).encode())
        for _ in range(self.random.randint(1, 4)):
            at, length = self.random.randrange(len(raw) + 1), self.random.randint(0, 12)
            piece = self.random.choice((b"", b"\xff", b"[", b'"', b"{}", b"0" * 5000, b"\\ud800"))
            raw[at : at + length] = piece
        answer = self._post(path, bytes(raw), self.random.choice(HEADERS))
        return None if answer.status_code == 200 else _refused(answer)

    def raw(self) -> str | None:
        """Any route, in any way."""
        methods = (*OPEN, "PUT", "HEAD", "OPTIONS", "PATCH", "TRACE")
        path = self.random.choice([path for paths in OPEN.values() for path in paths])
        path = re.sub(
            r"{[^}]*}", lambda _: self.random.choice((MARK, "score", "..", "%00", "😀")), path
        )
        url = httpx.URL(f"{self.http.base_url}{path.lstrip('/')}?{self.random.choice(QUERIES)}")
        method, headers = self.random.choice(methods), dict(self.random.choice(HEADERS))
        headers["content-type"] = self.random.choice(TYPES)
        content = self.random.choice((b"", b"{}", b'{"data": []}', b"a=b", b"\xff" * 1000))
        if path in ("/logout",) and method == "GET":
            return None
        with self.http.stream(method, url, headers=headers, content=content) as answer:
            text = ""
            for part in answer.iter_text():
                text += part
                if len(text) > SEEN or "event-stream" in answer.headers.get("content-type", ""):
                    break
        if answer.status_code < 400 or method == "HEAD":
            return _status(answer)
        return _refused(answer, text) and f"{method} {path} {headers}: {_refused(answer, text)}"

    def garbled(self) -> str | None:
        """Bytes that are hardly HTTP any more; the server may hang up on them."""
        head = (
            b"POST /gradio_api/call/score HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        )
        head += b"connection: close\r\ncontent-length: 14\r\n\r\n"
        raw = bytearray(head + b'{"data":["a"]}')
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randrange(len(raw))
            piece = self.random.choice(
                (
                    b"",
                    b"\r\n",
                    b"\x00",
                    b"\xff\xfe",
                    MARK.encode(),
                    b"transfer-encoding: chunked\r\n",
                )
            )
            raw[at : at + self.random.randint(0, 20)] = piece
        place = (self.http.base_url.host, self.http.base_url.port)
        with socket.create_connection(place, timeout=30) as sent:
            sent.sendall(bytes(raw))
            sent.shutdown(socket.SHUT_WR)
            found = b"".join(iter(partial(sent.recv, 65536), b""))
        status = re.match(rb"HTTP/1.1 (\d+) ", found)
        if found and not (status and int(status[1]) in (200, 307, 408, *REFUSALS)):
            return f"{bytes(raw)!r}: {found[:200]!r}"
        return _told(found.decode("latin-1"))

    def by_program(self) -> str | None:
        """As Gradio's own client sends it, which refuses some by itself."""
        name = self.random.choice(list(self.endpoints))
        values = self.values(name)
        try:
            self._call(name, values)
        except ValueError as error:  # Gradio's AppError is one
            return _no_sentence(str(error), f"{name} {str(values)[:300]}") or _told(str(error))
        return None

    def _model(self, kind: str) -> str:
        sent = self._post("call/models", '{"data": []}').json()
        text = self.http.get(f"gradio_api/call/models/{sent['event_id']}").text
        return json.loads(text.rpartition("data: ")[2])[0][kind][0]["name"]

    def _post(
        self, path: str, content: str | bytes, more: Mapping[str, str | bytes] | None = None
    ) -> httpx.Response:
        headers = {"content-type": "application/json", **(more or {})}
        return self.http.post(f"gradio_api/{path}", content=content, headers=headers)

    def _followed(self, name: str, path: str, body: Any) -> str | None:
        sent = json.dumps(body)
        answer = self._post(path, sent)
        if answer.status_code != 200:
            return _refused(answer)
        text = self.http.get(f"gradio_api/call/{name}/{answer.json()['event_id']}").text
        event, _, data = text.strip().split("\n\n")[-1].partition("\n")
        if bad := _told(text):
            return bad
        if event == "event: complete":
            return None
        if event != "event: error":
            return f"{sent[:300]} ended in {event!r}"
        return _no_sentence((json.loads(data[6:]) or {}).get("error"), sent[:300])


def _status(answer: httpx.Response, also: int = 404) -> str | None:
    good = answer.status_code < 400 or answer.status_code in (*REFUSALS, also)
    return None if good else f"{answer.status_code} for {answer.request.method} {answer.url}"


def _refused(answer: httpx.Response, text: str | None = None, *, also: int = 404) -> str | None:
    text = answer.text if text is None else text
    if bad := _status(answer, also):
        return f"{bad}: {text[:300]}"
    try:
        words = json.loads(text)
        words = words.get("detail") or words["error"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{answer.status_code} without words for {answer.url}: {text[:300]!r}"
    return _no_sentence(words, str(answer.url)) or _told(text)


def _no_sentence(words: Any, about: str) -> str | None:
    good = isinstance(words, str) and len(words.split()) >= 4 and words != UNFORESEEN
    return None if good else f"{words!r} is no sentence, of {about}"


def _told(text: str) -> str | None:
    """A place of the machine in an answer, unless it came in with the question."""
    return next((f"it tells {path}: {text[:300]}" for path in PATHS if path in text), None)
