"""gpt2.engine.remote: replicas answer as one engine does, whatever becomes of one of them.

pip install "ray[serve]" && python -m pytest -n 0 -m soak tests/engine/test_remote.py
"""

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from programs import free_port
from questions import VIEWS, WRONG, same, texts

from gpt2.ending import Processes, descendants
from gpt2.engine import Limits, Request
from gpt2.engine.catalog import Catalog
from gpt2.engine.cluster import start_ray
from gpt2.engine.remote import RemoteEngine
from gpt2.engine.replica import Replica, Settings
from gpt2.engine.replicas import Replicas
from gpt2.model import GPT2
from gpt2.sampling import Sampling

pytestmark = [
    pytest.mark.soak,
    pytest.mark.filterwarnings("ignore"),  # Ray leaves sockets and files to the interpreter
]
if not find_spec("ray"):
    pytest.skip("needs pip install 'ray[serve]'", allow_module_level=True)

POISON = "a prompt that ends whoever reads it"
REQUESTS = [
    Request(f"The {noun} of the", 60, Sampling(seed=seed), model="mini")
    for seed, noun in enumerate(
        ["king", "city", "end", "people", "price", "name", "sea", "war"] * 4
    )
]


class Fragile(Replica):
    """A replica that one prompt ends."""

    async def write(self, request, *rest):
        if request.prompt == POISON:
            os._exit(1)
        async for updates in super().write(request, *rest):
            yield updates

    async def rows(self):
        """How many texts it writes."""
        return len(self._engine.library.scheduler._rows)


def pids(replicas):
    """The processes of the replicas that have loaded."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(f"ray::ServeReplica:{replicas.name}:".encode()):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def models_here():
    return sum(isinstance(one, GPT2) for one in gc.get_objects())


@pytest.fixture(scope="module")
def remote(model_directory, classifier_directory):
    """Two replicas of the tiny models, which one prompt ends."""
    here = models_here()
    start_ray("--replicas", "ray[serve]")
    import_module("ray.cloudpickle").register_pickle_by_value(sys.modules[__name__])
    limits, names = Limits(), (str(model_directory), str(classifier_directory))
    settings = Settings(*names, device="cpu", dtype="auto", limits=limits)
    made = RemoteEngine(Catalog(*names, limits), Replicas(settings, 2, kind=Fragile))
    made.models_loaded_here = models_here() - here
    yield made
    made.close()


@pytest.fixture(scope="module")
def alone(engine):
    """What a single engine says to each of the requests."""
    return [answer(engine, request) for request in REQUESTS]


def answer(engine, request):
    *_, trace = engine.generate(request)
    return trace.completion, trace.steps, trace.finish_reason, trace.truncated


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_the_same_from_a_replica(remote, engine, view):
    assert same(VIEWS[view](remote.inspector), VIEWS[view](engine.inspector))


def test_texts_and_branches_are_the_same_from_a_replica(remote, engine):
    assert same(texts(remote), texts(engine))


def test_what_is_loaded_is_described_alike(remote, engine):
    assert remote.describe() == engine.describe()


@pytest.mark.parametrize("wrong", WRONG)
def test_an_error_has_its_kind_and_its_words(remote, engine, wrong):
    with pytest.raises(ValueError) as here:
        WRONG[wrong](engine)
    with pytest.raises(ValueError) as there:
        WRONG[wrong](remote)
    assert str(there.value) == str(here.value)
    assert type(there.value) is type(here.value)


def test_the_page_loads_no_weights(remote):
    assert remote.models_loaded_here == 0


def test_who_stops_listening_ends_the_work(remote):
    request = replace(REQUESTS[0], max_new_tokens=400)
    with remote.writer.start(request, remote.writer.begin(request)) as text:
        next(text.updates())

    def rows():
        return sum(remote.replicas.call("rows", key=key) for key in range(8))

    wait_until(lambda: rows() == 0, seconds=2)


def test_texts_are_whole_though_a_replica_is_killed(remote, alone):
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(answer, remote, request) for request in REQUESTS]
        wait_until(lambda: sum(one.done() for one in answers) >= 4)
        os.kill(pids(remote.replicas)[0], signal.SIGKILL)
        assert [one.result() for one in answers] == alone
    wait_until(lambda: len(pids(remote.replicas)) == 2)


def test_replicas_are_renewed_without_an_error(remote, alone):
    before = set(pids(remote.replicas))
    with ThreadPoolExecutor(9) as threads:
        renewal = threads.submit(remote.renew)

        def client(number):
            asked = 0
            while not renewal.done():
                which = (number + 8 * asked) % len(REQUESTS)
                assert answer(remote, REQUESTS[which]) == alone[which]
                asked += 1
            return asked

        assert sum(threads.map(client, range(8))) > 0
        renewal.result()
    wait_until(lambda: len(pids(remote.replicas)) == 2)
    assert not before & set(pids(remote.replicas))


def test_a_request_that_ends_replicas_is_given_up_after_two(remote, alone):
    before = set(pids(remote.replicas))
    with pytest.raises(RuntimeError, match="again and again over this request; it is given up"):
        list(remote.generate(Request(POISON, 5)))
    assert answer(remote, REQUESTS[0]) == alone[0]  # the others go on
    wait_until(lambda: len(pids(remote.replicas)) == 2)
    assert len(before - set(pids(remote.replicas))) <= 2


@pytest.fixture
def started(root, tmp_path):
    """started(flags): app.py with one replica, and what it prints."""
    programs = []

    def start(*flags):
        command = [sys.executable, root / "app.py", "--replicas", "1", "--port", "8071", *flags]
        program = subprocess.Popen(
            list(map(str, command)),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.kill()
        program.communicate()


def session_of(pid):
    """All processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(path.name)) == pid and ") Z " not in (path / "stat").read_text():
                found.append(int(path.name))
    return found


def test_a_page_with_replicas_ends_with_all_its_processes(started, model_directory):
    page = started("--model", model_directory)
    assert page.stdout.readline() == "Open http://127.0.0.1:8071/\n"
    assert len(session_of(page.pid)) > 3
    begun = time.monotonic()
    page.send_signal(signal.SIGINT)
    assert page.wait(timeout=20) == 0
    assert not session_of(page.pid)
    assert time.monotonic() - begun < 2
    assert page.communicate() == ("Closing.\n", "")


@pytest.mark.parametrize("seconds", [2, 4, 6, 8])
def test_an_interrupt_while_replicas_start_ends_all_in_two_seconds(
    started, model_directory, seconds
):
    """Amid Ray's own code it was heard five seconds later."""
    page = started("--model", model_directory)
    time.sleep(seconds)
    begun = time.monotonic()
    page.send_signal(signal.SIGINT)
    assert page.wait(timeout=20) == 1
    assert not session_of(page.pid)
    assert time.monotonic() - begun < 2
    assert page.communicate() == ("", "app.py: interrupted\n")


@pytest.fixture
def full_cluster():
    """The address of a cluster of one CPU, which somebody else has."""
    port = free_port()
    env = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_SLOW_STARTUP_WARNING_S": "1"}
    ray = Path(sys.executable).with_name("ray")
    flags = ["--head", "--block", "--port", str(port), "--num-cpus", "1"]
    flags += ["--min-worker-port", "0", "--max-worker-port", "0"]  # or the port may be among them
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "env": env, "text": True}
    took = f"""
import ray, sys, time
for _ in range(60):
    try:
        ray.init(address="127.0.0.1:{port}")
        break
    except ConnectionError:
        time.sleep(0.5)
else:
    sys.exit("no cluster")
taker = ray.remote(num_cpus=1)(type("Taker", (), {{"here": lambda self: True}})).remote()
ray.get(taker.here.remote())
print("taken", flush=True)
time.sleep(600)
"""
    with (
        subprocess.Popen([ray, "start", *flags], **quiet) as head,
        subprocess.Popen([sys.executable, "-c", took], **quiet) as other,
    ):
        try:
            assert other.stdout.readline() == "taken\n"
            yield f"127.0.0.1:{port}"
        finally:
            other.kill()
            Processes([head.pid, *descendants(head.pid)]).end(grace=1)


def test_of_a_cluster_without_room_it_is_told_what_is_waited_for_and_then_given_up(
    full_cluster, root, model_directory
):
    """It waited without a word, for ever."""
    code = (
        "import sys, app; from gpt2.engine import cluster; cluster.LONGEST = 2.0; "
        f"sys.exit(app.main(['--model', {str(model_directory)!r}, '--replicas', '1']))"
    )
    env = os.environ | {"RAY_ADDRESS": full_cluster}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, env=env, stderr=subprocess.PIPE, text=True
    ) as page:
        said = page.communicate(timeout=120)[1].splitlines()
    wants = "the Ray cluster has no room for a replica, which needs 1 CPU (0 of 1 are free)"
    assert page.returncode == 1
    assert said[0] == f"WARNING: {wants}; waiting up to 2 s for others to end"
    assert said[1] == (
        f"app.py: {wants}, for 2 s; end what else runs there, add a machine, or ask for less"
    )
    assert len(said) == 2


def test_a_model_that_cannot_be_loaded_is_told_in_the_loader_s_words(
    started, model_directory, tmp_path
):
    damaged = tmp_path / "damaged"
    shutil.copytree(model_directory, damaged)
    os.truncate(damaged / "model.safetensors", 1000)
    page = started("--model", damaged)
    assert page.wait(timeout=120) == 1
    said = page.stderr.read()
    assert said.startswith(f"app.py: {damaged / 'model.safetensors'} is damaged"), said
    assert said.count("\n") == 1
