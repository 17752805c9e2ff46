"""Programs that two processes share, or that are killed."""

import os
import subprocess
import sys
import time

LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def by_ranks(words, root, starter):
    """What a program prints that two processes on this machine share."""
    results = starter.run_ranks([sys.executable, *words], cwd=root, env=ENVIRONMENT)
    for result in results:
        assert result.returncode == 0, result.stderr[-3000:]
    return "".join(result.stdout for result in results)


def kill_when(seen, words, root, starter):
    """Run a program and kill it, as kill -9 does, as soon as `seen` holds; its exit status."""
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = {"cwd": root, "env": ENVIRONMENT, **nowhere}
    with starter.start([sys.executable, *words], **options) as process:
        while process.poll() is None and not seen():
            time.sleep(0.0005)
        process.kill()
    return process.returncode
