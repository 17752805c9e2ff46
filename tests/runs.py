"""Programs in processes of their own: shared by two of them, or killed."""

import os
import subprocess
import sys
import time

LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def by_torchrun(words, root):
    """What a program prints that two processes on this machine share."""
    options = {"cwd": root, "env": ENVIRONMENT, "capture_output": True, "text": True}
    result = subprocess.run([*LAUNCHER, *words], timeout=180, **options)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def kill_when(seen, words, root):
    """Run a program and kill it, as kill -9 does, as soon as `seen` holds; its exit status."""
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = {"cwd": root, "env": ENVIRONMENT, **nowhere}
    with subprocess.Popen([sys.executable, *words], **options) as process:
        while process.poll() is None and not seen():
            time.sleep(0.0005)
        process.kill()
    return process.returncode
