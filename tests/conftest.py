"""Fixtures that every test module may use: a vocabulary, and tiny models with random weights."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# Whatever reads a model directory here must find all of it there.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import pytest  # noqa: E402
import torch  # noqa: E402
from programs import Starter  # noqa: E402

from gpt2 import weights  # noqa: E402
from gpt2.classifier import GPT2Classifier  # noqa: E402
from gpt2.config import GPT2Config  # noqa: E402
from gpt2.engine import Engine  # noqa: E402
from gpt2.model import GPT2  # noqa: E402
from gpt2.tokenizer import Tokenizer  # noqa: E402

torch.set_num_threads(1)
# A shell that runs the tests in the background has them ignore interrupts, and so would the
# programs they start, which are to end by one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW_FIXTURES = {"starter", "page_server", "browser", "finished"}  # a finished training


@pytest.hookimpl(tryfirst=True)  # before -m picks some
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts a program, a browser or a training is slow; gpu tests need a GPU.

    The files that need TensorFlow come first: a process that has run its own tests takes others'
    from the end, and so seldom has to import TensorFlow too.
    """
    for item in items:
        if SLOW_FIXTURES & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU here"))
    items.sort(key=lambda item: not hasattr(getattr(item, "module", None), "openai_files"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's directory."""
    return ROOT


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    """Starts programs as subprocess does, without the seconds that their imports take."""
    made = Starter()
    yield made
    made.close()


@pytest.fixture(scope="session")
def vocabulary() -> Path:
    """A directory with GPT-2's vocab.json and merges.txt."""
    return ROOT / "checkpoints" / "mini"


@pytest.fixture(scope="session")
def tokenizer(vocabulary: Path) -> Tokenizer:
    return Tokenizer(vocabulary)


@pytest.fixture(scope="session")
def tiny_config() -> GPT2Config:
    """A model of a few thousand parameters, for what needs no text."""
    return GPT2Config(vocab_size=97, n_ctx=24, n_embd=32, n_layer=3, n_head=4)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., GPT2]:
    """make_model(config, seed=0): a model in which no parameter is zero, one or symmetric.

    Fresh weights would hide errors: biases of 0, gains of 1, and a stream so large that the
    norm's epsilon does not matter. Here the embeddings of some tokens are small, as GPT-2's are.
    """

    def make(config: GPT2Config, *, seed: int = 0) -> GPT2:
        model = GPT2(config).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if name == "wte.weight":
                    rows = torch.logspace(-2, 0, config.vocab_size)[:, None]
                    noise *= rows[torch.randperm(config.vocab_size, generator=generator)]
                elif name == "wpe.weight":
                    noise *= 0.01
                elif parameter.dim() == 2:
                    noise *= 1.5 * parameter.size(1) ** -0.5
                else:  # gains around 1, biases around 0
                    noise = 0.3 * noise + ("ln_" in name and name.endswith("weight"))
                parameter.copy_(noise)
        return model

    return make


@pytest.fixture
def tiny_model(tiny_config: GPT2Config, make_model: Callable[..., GPT2]) -> GPT2:
    return make_model(tiny_config)


@pytest.fixture(scope="session")
def make_classifier(make_model: Callable[..., GPT2]) -> Callable[..., GPT2Classifier]:
    """make_classifier(config, seed=0): make_model's model with a random head of its labels."""

    def make(config: GPT2Config, *, seed: int = 0) -> GPT2Classifier:
        model = GPT2Classifier(make_model(config, seed=seed)).eval()
        generator = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            model.score.weight.copy_(torch.randn(model.score.weight.shape, generator=generator))
        return model

    return make


@pytest.fixture(scope="session")
def model_directory(
    tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., GPT2], vocabulary: Path
) -> Path:
    """A language model with GPT-2's whole vocabulary, as a directory. Not to be changed."""
    path = tmp_path_factory.mktemp("directories") / "tiny"
    config = GPT2Config(n_ctx=64, n_embd=16, n_layer=2, n_head=2)
    weights.save(make_model(config), path, vocabulary=vocabulary)
    return path


@pytest.fixture(scope="session")
def classifier_directory(
    tmp_path_factory: pytest.TempPathFactory,
    make_classifier: Callable[..., GPT2Classifier],
    vocabulary: Path,
) -> Path:
    """A classifier with GPT-2's whole vocabulary, as a directory. Not to be changed."""
    path = tmp_path_factory.mktemp("directories") / "tiny-news"
    labels = ("World", "Sports", "Business", "Sci/Tech")
    config = GPT2Config(n_ctx=64, n_embd=16, n_layer=2, n_head=2, labels=labels)
    weights.save(make_classifier(config), path, vocabulary=vocabulary)
    return path


@pytest.fixture(scope="session")
def engine(model_directory: Path, classifier_directory: Path) -> Engine:
    """The two tiny models on the CPU. It keeps no state of a request, so tests may share it."""
    return Engine.load(str(model_directory), str(classifier_directory), device="cpu")


@pytest.fixture
def fresh_engine(engine: Engine) -> Engine:
    """Another one of the same models, which remembers nothing yet."""
    return Engine(engine.library, engine.limits)


@pytest.fixture
def passes(engine: Engine) -> Iterator[list[int]]:
    """How many tokens went through the language model's first block, pass by pass."""
    seen: list[int] = []
    block = engine.library.get(engine.catalog.models[0]).backbone.h[0]
    hook = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].size(1)))
    yield seen
    hook.remove()


@dataclass(frozen=True)
class Page:
    """The page over the tiny models, served by another process."""

    url: str
    directory: Path

    def steps(self) -> list[float]:
        """When (time.time) each step of a completion was made."""
        return [float(line) for line in (self.directory / "steps").read_text().split()]

    def log(self) -> str:
        """All that the server has printed."""
        return (self.directory / "log").read_text()

    @contextmanager
    def slowed(self, seconds: float) -> Iterator[None]:
        """Within, each step of a completion takes so much longer."""
        (self.directory / "pause").write_text(str(seconds))
        try:
            yield
        finally:
            (self.directory / "pause").write_text("0")


@pytest.fixture(scope="session")
def page_server(
    tmp_path_factory: pytest.TempPathFactory,
    model_directory: Path,
    classifier_directory: Path,
    make_model: Callable[..., GPT2],
    starter: Starter,
) -> Iterator[Page]:
    """The page over the tiny models; of the others there one is damaged, one has a long context."""
    directory = tmp_path_factory.mktemp("page")
    other, broken = (directory / "checkpoints" / name for name in ("other", "broken"))
    config = GPT2Config(n_ctx=48, n_embd=16, n_layer=3, n_head=4)
    weights.save(make_model(config, seed=5), other, vocabulary=model_directory)
    shutil.copytree(other, broken)
    config = GPT2Config(n_ctx=256, n_embd=16, n_layer=2, n_head=2)
    weights.save(make_model(config), directory / "checkpoints" / "long", vocabulary=model_directory)
    os.truncate(broken / weights.WEIGHTS_FILE, 100_000)
    (directory / "pause").write_text("0")
    (directory / "steps").write_text("")
    script = Path(__file__).with_name("page_server.py")
    command = [sys.executable, script, model_directory, classifier_directory, directory]
    with (
        open(directory / "log", "w") as log,
        starter.start(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        end = time.monotonic() + 90
        while not (directory / "url").exists():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                pytest.fail((directory / "log").read_text())
            time.sleep(0.05)
        yield Page((directory / "url").read_text(), directory)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
