"""Starts programs quickly: a process that has imported what they need forks for each start.

What is started is a process of its own, with the command line, environment, directory, pipes,
signals and exit status that subprocess would give it; only the seconds of importing are spared. A
test of the start itself uses subprocess.
"""

import gc
import importlib
import io
import json
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
# A thread that a library starts does not live on in a child, which may then wait for it for ever.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}

# As sitecustomize.py, which Python finds before anything else runs: interrupts the program as it is
# about to import its n-th module.
AT_AN_IMPORT = """
import os, signal, sys

left = int(os.environ["INTERRUPT_AT"])

def count(event, args):
    global left
    if event == "import" and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        left -= 1
        if left == 0:
            with open(os.environ["INTERRUPTED"], "w") as file:
                file.write(args[0])
            os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(count)
"""


# --- the side of the tests --------------------------------------------------------------------


class Program:
    """A program that was started; the part of subprocess.Popen that the tests use."""

    def __init__(
        self,
        command: Sequence[str],
        status: socket.socket,
        stdout: IO[str] | None,
        stderr: IO[str] | None,
    ) -> None:
        self.args, self.stdout, self.stderr = command, stdout, stderr
        self.returncode: int | None = None
        self._said: tuple[str | None, str | None] | None = None
        self._status = status.makefile("rb", buffering=0)  # a line is here, or still to come
        status.close()
        self.pid = int(self._status.readline())

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, if it has not ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str | None, str | None]:
        """All that it writes until its end; the same again when asked again."""
        if self._said is not None:
            return self._said
        streams = self.stdout, self.stderr
        with ThreadPoolExecutor(2) as pool:
            read = [pool.submit(stream.read) if stream else None for stream in streams]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            out, err = (found.result(timeout=30) if found else None for found in read)
        self._close()
        self._said = out, err
        return self._said

    def _close(self) -> None:
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()

    def __enter__(self) -> "Program":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.kill()
        self.wait()
        self._close()


class Starter:
    """The process that forks; it starts when it is first needed."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        command: Sequence[str | Path],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: int | IO[str] | None = None,
        stderr: int | IO[str] | None = None,
    ) -> Program:
        """What subprocess.Popen(command, text=True, ...) does; command[0] is this Python."""
        words = [str(word) for word in command]
        assert words[0] == sys.executable, words[0]
        here, there = socket.socketpair()
        ours, theirs = [], []
        for stream, own in ((stdout, sys.__stdout__), (stderr, sys.__stderr__)):
            ours.append(None)
            if stream == subprocess.PIPE:
                read, write = os.pipe()
                ours[-1] = open(read, encoding="utf-8")  # noqa: SIM115
            elif stream == subprocess.DEVNULL:
                write = os.open(os.devnull, os.O_WRONLY)
            elif stream == subprocess.STDOUT:
                write = os.dup(theirs[0])
            else:
                file = own if stream is None else stream
                assert isinstance(file, io.IOBase)
                write = os.dup(file.fileno())
            theirs.append(write)
        request = {
            "words": words[1:],
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        socket.send_fds(self._running(), [b"!"], [*theirs, there.fileno()])
        there.close()
        for number in theirs:
            os.close(number)
        here.sendall(json.dumps(request).encode() + b"\n")
        return Program(words, here, *ours)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        timeout: float = 180,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """What subprocess.run(command, capture_output=True, text=True, ...) does."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.start(command, **pipes, **options) as program:
            out, err = program.communicate(timeout)
        return subprocess.CompletedProcess(program.args, program.wait(), out, err)

    def run_ranks(
        self,
        command: Sequence[str | Path],
        *,
        ranks: int = 2,
        env: Mapping[str, str] | None = None,
        timeout: float = 180,
        **options: Any,
    ) -> list[subprocess.CompletedProcess[str]]:
        """The processes that torchrun would start, without torchrun; each one's end."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with _meeting_point(ranks) as shared, ThreadPoolExecutor(ranks) as pool:
            programs = []
            for rank in map(str, range(ranks)):
                own = {**(os.environ if env is None else env), **shared}
                own.update(RANK=rank, LOCAL_RANK=rank)
                programs.append(self.start(command, env=own, **pipes, **options))
            read = list(pool.map(lambda program: program.communicate(timeout), programs))
        return [
            subprocess.CompletedProcess(program.args, program.wait(), *said)
            for program, said in zip(programs, read, strict=True)
        ]

    def close(self) -> None:
        """End it, and with it whatever it has started that still runs."""
        if self._control and self._process:
            self._control.close()
            self._process.wait(timeout=30)

    def _running(self) -> socket.socket:
        if self._control is None:
            self._control, there = socket.socketpair()
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(there.fileno())],
                pass_fds=[there.fileno()],
                env=os.environ | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C ends the tests, and they end it
            )
            there.close()
        return self._control


@contextmanager
def _meeting_point(ranks: int) -> Iterator[dict[str, str]]:
    """The environment that ranks find each other by; as under torchrun, another holds the store."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    yield {
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    del store


def free_port() -> int:
    """A port to listen on; not one of those that the system gives to connections meanwhile."""
    for _ in range(100):
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


# --- the process that forks -------------------------------------------------------------------


def prepare() -> None:
    """Import what programs spend their start on; no thread may run after that."""
    import torch

    torch.set_num_threads(1)
    sys.path.insert(0, str(ROOT))
    package = importlib.import_module("gpt2")
    for found in pkgutil.walk_packages(package.__path__, "gpt2."):
        with suppress(ModuleNotFoundError):  # of what only a flag asks for
            importlib.import_module(found.name)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first one imports a lot
    tasks = Path("/proc/self/task")
    if tasks.is_dir():
        assert len(list(tasks.iterdir())) == 1
    sys.path.remove(str(ROOT))
    gc.collect()
    gc.freeze()


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; returns the request in each child, and None when the tests end."""
    wake, awake = os.pipe()
    for end in (wake, awake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(awake)
    running: dict[int, socket.socket] = {}
    while True:
        ready = select.select([control, wake], [], [])[0]
        if wake in ready:
            os.read(wake, 4096)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with running.pop(pid) as told, suppress(OSError):
                        told.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        if control in ready:
            message, numbers, _, _ = socket.recv_fds(control, 1, 3)
            if not message:
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                return None
            told = socket.socket(fileno=numbers.pop())
            with told.makefile("r") as lines:
                request = json.loads(lines.readline())
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for place, number in enumerate(numbers, 1):
                    os.dup2(number, place)
                for number in (*numbers, wake, awake):
                    os.close(number)
                for other in (control, told, *running.values()):
                    other.close()
                return request
            for number in numbers:
                os.close(number)
            running[pid] = told
            with suppress(OSError):
                told.sendall(f"{pid}\n".encode())


def become(request: dict[str, Any]) -> None:
    """What Python does with a command line."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    first, *others = request["words"]
    added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = ["", *added]  # instead of this file's directory
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")
    sys.argv = [first, *others]
    if first == "-c":
        main = sys.modules["__main__"] = ModuleType("__main__")
        code, *others = others
        sys.argv = ["-c", *others]
        exec(compile(code, "<string>", "exec"), main.__dict__)
    elif first == "-m":
        name, *others = others
        sys.argv = [name, *others]
        sys.path[0] = os.getcwd()
        sys.modules.pop(name, None)
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(first).resolve().parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        prepare()
        asked = serve(listening)
    if asked is not None:
        become(asked)
