"""gpt2.ending: signals that end a program; tests/test_app.py has the page ended by them."""

import signal
import subprocess
import sys

import pytest

# Tells of each signal that it hears, while its other threads start threads all the time.
STARTING_THREADS = """
import threading
from gpt2.ending import first_of, listen

def start():
    while True:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()

heard = listen()
for _ in range(2):
    threading.Thread(target=start, daemon=True).start()
print("ready", flush=True)
while True:
    print(first_of(heard), flush=True)
"""


@pytest.mark.slow
def test_no_signal_is_lost_while_threads_are_started(root):
    """A page that was told to end amid a burst of calls went on, one time in twenty or so."""
    command = [sys.executable, "-c", STARTING_THREADS]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=root, **options) as program:
        try:
            assert program.stdout.readline() == "ready\n"
            for _ in range(30):
                program.send_signal(signal.SIGTERM)
                assert program.stdout.readline() == f"{signal.SIGTERM:d}\n"
        finally:
            program.kill()
