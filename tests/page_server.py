"""Serves the page to the tests, in a process of its own: python page_server.py MODEL CLASSIFIER DIR

DIR/checkpoints holds the other models that can be picked. DIR/pause holds the seconds that each
step of the completions takes longer than it need; DIR/steps gets a line, the time, for each token
that was drawn; DIR/url gets the page's address once it is open.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from gpt2 import fast
from gpt2.engine import Engine
from gpt2.ui import build_app, launch_options
from gpt2.weights import hub


def main(model: str, classifier: str, directory: str) -> None:
    pause, steps = Path(directory, "pause"), Path(directory, "steps")
    ready = fast.decoder

    def watched(model):
        decoder = ready(model)
        choose = decoder.choose

        def slow(logits, draws):
            time.sleep(float(pause.read_text()))
            with open(steps, "a") as file:
                file.writelines(f"{time.time()}\n" for _ in draws)
            return choose(logits, draws)

        decoder.choose = slow
        return decoder

    fast.decoder = watched
    hub.CHECKPOINTS = Path(directory, "checkpoints")
    torch.set_num_threads(1)
    app = build_app(Engine.load(model, classifier, device="cpu"))
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options())
    url = Path(directory, "url.part")
    url.write_text(app.local_url)
    url.rename(Path(directory, "url"))
    app.block_thread()


if __name__ == "__main__":
    main(*sys.argv[1:])
