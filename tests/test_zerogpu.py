"""The page as a ZeroGPU Space runs it: `python app.py` over the package `spaces` itself.

pip install spaces && python -m pytest -n 0 -m soak tests/test_zerogpu.py: half a minute.

Stood in for is the machine that lends GPUs, here a small server; where there is no GPU, the two
calls by which a worker moves to it; and where torch was built without CUDA, what the package looks
at in it. All else is the package: its patches of torch, its decorator, its forked workers, their
queues, its errors.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import torch
from programs import free_port
from test_app import APP, asked, until_open

from gpt2.engine import Engine, Request, Sampling

pytestmark = [pytest.mark.soak]
if not find_spec("spaces"):
    pytest.skip("needs pip install spaces", allow_module_level=True)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VISITOR = "x-ip-token"  # a header that the hub sends along
ANN = "e30.eyJ1c2VyIjoiYW5uIn0.e30"
# Found by Python in PYTHONPATH before anything else runs.
STAND_IN = """
import importlib.abc, importlib.util, os, sys

def torch_without_cuda(torch):
    with open(os.environ["TOLD"], "a") as file:
        file.write(f"torch, {'after' if 'spaces' in sys.modules else 'before'} spaces\\n")
    if torch.version.cuda is None:
        torch.version.cuda, torch.cuda._is_in_bad_fork = "12.8", bool
        torch._C._cuda_init = lambda: None

def workers_without_gpu(there):
    if os.environ["DEVICE"] == "cpu":
        there.init = there.move = lambda *_, **__: None

THEN = {"torch": torch_without_cuda, "spaces.zero.torch": workers_without_gpu}

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in THEN:
            return None
        then = THEN.pop(name)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), then(module))
        return spec

sys.meta_path.insert(0, Finder())
"""


@dataclass
class Hub:
    """Lends GPUs that are none, and remembers what it was asked."""

    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    refusal: tuple[int, bytes] | None = None  # of the next ones: a status and a body
    pings: int = 0  # that the next ones get while they wait for a GPU
    _lent: dict[str, int] = field(default_factory=dict)  # number of the GPU by token
    _warm: set[int] = field(default_factory=set)  # whose worker waits for more
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, asked: dict[str, str]) -> tuple[int, bytes]:
        """A status and a body of JSON."""
        with self._lock:
            self.calls.append((path, asked))
            if path == "/schedule":
                if self.refusal:
                    return self.refusal
                number = next(n for n in range(99) if n not in self._lent.values())
                token = f"token {len(self.calls)}"
                self._lent[token] = number
                told = {"idle": number in self._warm, "allowToken": token}
                told |= {"nvidiaIndex": number, "nvidiaUUID": "0"}
                return 200, json.dumps(told).encode()
            if path == "/release":
                number = self._lent.pop(asked["allowToken"])
                (self._warm.discard if asked["fail"] == "true" else self._warm.add)(number)
        return 200, b""

    def all(self, path: str) -> list[dict[str, str]]:
        """What one path was asked."""
        return [asked for other, asked in list(self.calls) if other == path]

    @property
    def lent(self) -> int:
        """How many GPUs are lent."""
        return len(self._lent)

    @property
    def workers(self) -> list[int]:
        """Processes that were allowed a GPU."""
        return [int(asked["pid"]) for asked in self.all("/allow")]


@pytest.fixture(scope="module")
def hub():
    """Its `url` is where it answers."""
    made = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            parts = urlsplit(self.path)
            status, body = made.answer(parts.path, dict(parse_qsl(parts.query)))
            waits = made.pings and parts.path == "/schedule"
            self.send_response(status)
            self.send_header("content-type", "text/event-stream" if waits else "application/json")
            if waits:
                self.send_header("connection", "close")
                self.end_headers()
                self.wait(body)
                return
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def wait(self, body):
            for _ in range(made.pings):
                self.wfile.write(b"event: ping\n\n")
                time.sleep(0.2)
            self.wfile.write(b"event: succeeded\ndata: " + body + b"\n\n")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


@pytest.fixture(scope="module")
def page(hub, tmp_path_factory):
    """app.py, running; its `port`, and what the stand-in told."""
    directory, port = tmp_path_factory.mktemp("zerogpu"), free_port()
    (directory / "sitecustomize.py").write_text(STAND_IN)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")]),
        "TOLD": str(directory / "told"),
        "DEVICE": DEVICE,
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": hub.url,
        "ZEROGPU_OFFLOAD_DIR": str(directory / "tensors"),
    }
    command = [sys.executable, APP, "--port", port, "--device", DEVICE]
    with (
        open(directory / "log", "w") as log,
        subprocess.Popen(
            list(map(str, command)),
            env=environment,
            cwd=directory,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        until_open(process, port, seconds=300)
        process.port, process.directory = port, directory
        said = directory / "log"
        until(lambda: "Open http" in said.read_text() and not hub.lent, seconds=60)
        yield process
        with suppress(ProcessLookupError):  # mostly it has ended
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def alone():
    """An engine as other pages have it."""
    made = Engine.load(device=DEVICE)
    yield made
    made.close()


def until(true, *, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def begun(page, **told):
    """The id of a text that was asked for, and where it is fetched."""
    url = f"http://127.0.0.1:{page.port}/gradio_api/call"
    return httpx.post(f"{url}/v2/generate", json=told).json()["event_id"], url


def test_spaces_patches_torch_before_the_page_has_it_and_the_hub_is_told(page, hub):
    assert (page.directory / "told").read_text().splitlines()[0] == "torch, after spaces"
    assert hub.calls[0][0] == "/startup-report"


def test_a_text_and_a_topic_are_an_engine_s_own(page, alone):
    request = Request("The president said", 40, Sampling(seed=7))
    *_, text = alone.generate(request)
    event, (found,) = asked(page.port, "generate", prompt=request.prompt, seed=7, max_new_tokens=40)
    assert event == "complete"
    assert found["completion"] == text.completion
    topic = alone.inspector.classify("It rains goals")
    event, (found,) = asked(page.port, "classify", text="It rains goals")
    assert (event, found["label"]) == ("complete", topic.labels[topic.per_token[-1].argmax()])


def test_what_is_lent_is_given_back_and_used_again_at_once(page, hub):
    before = len(hub.workers)
    for _ in range(3):
        assert asked(page.port, "classify", text="It rains goals")[0] == "complete"
    until(lambda: not hub.lent)
    assert len(hub.workers) <= max(1, before)  # a worker that is there answers all of them
    assert {call["fail"] for call in hub.all("/release")} == {"false"}
    assert all(5 < int(call["durationSeconds"]) <= 70 for call in hub.all("/schedule"))


def test_a_crowd_is_answered_from_workers_of_their_own(page, hub):
    told = {"prompt": "The city of", "max_new_tokens": 60}
    _, (alone,) = asked(page.port, "generate", **told)
    with ThreadPoolExecutor(6) as visitors:
        answers = list(visitors.map(lambda _: asked(page.port, "generate", **told), range(6)))
    assert [event for event, _ in answers] == ["complete"] * 6
    assert {found["completion"] for _, (found,) in answers} == {alone["completion"]}
    until(lambda: not hub.lent)


def test_gpu_time_is_the_visitor_s(page, hub):
    url = f"http://127.0.0.1:{page.port}/gradio_api/call"
    for endpoint, told in (("classify", {"text": "x"}), ("generate", {"prompt": "x"})):
        sent = httpx.post(f"{url}/v2/{endpoint}", json=told, headers={VISITOR: ANN}).json()
        httpx.get(f"{url}/{endpoint}/{sent['event_id']}", timeout=60)
        assert hub.all("/schedule")[-1]["token"] == ANN


def test_whoever_stops_listening_gives_the_gpu_back(page, hub):
    told = {"prompt": "The president said", "max_new_tokens": 500, "seed": 3}
    start = time.monotonic()
    asked(page.port, "generate", **told)
    whole = time.monotonic() - start
    id_, url = begun(page, **told)
    with httpx.stream("GET", f"{url}/generate/{id_}", timeout=60) as answer:
        next(line for line in answer.iter_lines() if "completion" in line)
        assert hub.lent == 1
    until(lambda: not hub.lent, seconds=whole / 2)
    assert hub.all("/release")[-1]["fail"] == "false"
    assert asked(page.port, "classify", text="It rains goals")[0] == "complete"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, b"", "ZeroGPU client error: No GPU was available"),
        (429, b'{"left": 3, "wait": 600}', r"3s left). Try again in 0:10:00"),
    ],
)
def test_who_gets_no_gpu_is_told_why(page, hub, status, body, said):
    hub.refusal = status, body
    try:
        url = f"http://127.0.0.1:{page.port}/gradio_api/call"
        for endpoint, told in (("classify", {"text": "x"}), ("generate", {"prompt": "x"})):
            sent = httpx.post(f"{url}/v2/{endpoint}", json=told, headers={VISITOR: ANN}).json()
            answer = httpx.get(f"{url}/{endpoint}/{sent['event_id']}", timeout=60).text
            assert "event: error" in answer
            assert said in answer
    finally:
        hub.refusal = None


def test_who_waits_for_a_gpu_has_it_after_others(page, hub, alone):
    hub.pings = 3
    *_, text = alone.generate(Request("The president said", 40, Sampling(seed=7)))
    try:
        told = {"prompt": "The president said", "seed": 7, "max_new_tokens": 40}
        event, (found,) = asked(page.port, "generate", **told)
        assert (event, found["completion"]) == ("complete", text.completion)
        assert asked(page.port, "classify", text="It rains goals")[0] == "complete"
    finally:
        hub.pings = 0


def test_a_worker_that_is_cut_off_is_told_and_the_next_one_answers(page, hub):
    id_, url = begun(page, prompt="The president said", max_new_tokens=500, seed=4)
    with httpx.stream("GET", f"{url}/generate/{id_}", timeout=60) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if "completion" in line)
        for pid in alive(hub.workers):
            os.kill(pid, signal.SIGKILL)
        assert any("ZeroGPU worker error: GPU task aborted" in line for line in lines)
    until(lambda: not hub.lent)
    assert asked(page.port, "classify", text="It rains goals")[0] == "complete"


def test_it_ends_in_order_with_all_its_processes(page, hub):
    begun(page, prompt="The president said", max_new_tokens=100, seed=5)
    until(lambda: hub.lent)
    os.kill(page.pid, signal.SIGTERM)
    assert page.wait(timeout=15) == 0
    until(lambda: not alive(hub.workers), seconds=5)
    said = (page.directory / "log").read_text()
    assert "Traceback" not in said, said


def alive(pids):
    """Those that run."""
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").is_file() and not zombie(pid)]


def zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
