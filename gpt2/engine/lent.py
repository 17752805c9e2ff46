"""A GPU that is lent for the length of a call, as a ZeroGPU Space has it.

There the package `spaces` forks this process for a call, and the copy (copies.py) has a GPU until
it has answered. Nothing here touches a GPU.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from contextvars import copy_context
from math import ceil
from threading import Thread
from typing import Any, Protocol

from gpt2.config import GPT2Config
from gpt2.devices import pick_device, pick_dtype
from gpt2.engine.catalog import Catalog
from gpt2.engine.copies import Call, Copies, Failed
from gpt2.engine.replica import Settings
from gpt2.engine.replicas import Arguments
from gpt2.engine.scheduler import Closed
from gpt2.engine.stream import Stream
from gpt2.model import parameter_count

START = 10  # seconds until a copy has its GPU and an engine there
LAYER = 5e-4  # seconds that a pass through the model may take for each layer,
PARAMETERS = 2e11  # and of these a second; both generous, as who is late is cut off
# Passes of what takes more than one.
MANY = {"ablation_maps": 500, "attributions": 500, "faithfulness": 500, "model_heads": 10}

Task = Callable[[Call], Generator[Any, None, None]]


class Lender(Protocol):
    """What `spaces.GPU` is: has a generator function run in a copy of this process."""

    def __call__(self, task: Task, *, duration: Callable[[Call], int]) -> Task:
        """The function to call in its place.

        Args:
            duration: seconds that a call may take, after which it is cut off.
        """


def space_lender() -> Lender:
    """That of a ZeroGPU Space.

    Raises:
        ValueError: its package is missing.
    """
    try:
        import spaces
    except ImportError:
        raise ValueError(
            "a ZeroGPU Space lends its GPU through the package spaces, which is missing here; "
            "pip install spaces"
        ) from None
    lender: Lender = spaces.GPU
    return lender


class LentGPU:
    """Copies of this process that are lent a GPU, in the place of Replicas. Any thread may ask."""

    count = 1  # as far as can be told: the Space has as many as it gets

    def __init__(self, settings: Settings, catalog: Catalog, lend: Lender) -> None:
        """Read the weights, before there is a copy.

        Raises:
            FileNotFoundError, ValueError: as Engine.load.
        """
        self.settings, self.alive = settings, True
        device = pick_device(settings.device)
        dtype = pick_dtype(settings.dtype, device)
        self._catalog, self._copies = catalog, Copies(catalog, device=device, dtype=dtype)
        for name in (catalog.models[0], catalog.classifiers[0]):
            self._copies.hold(name)  # whoever starts the page may read their paths
        self._here: dict[str, Callable[..., Any]] = {
            "device": lambda: device.type,
            "have": self._have,
            "describe": self._describe,
        }
        self._texts: set[Stream] = set()  # that somebody waits for
        self._lent = lend(self._copies.answer, duration=self.seconds)

    def call(self, method: str, *args: Any, key: object = None) -> Any:
        """As of Replicas; what needs no GPU is answered without one.

        Raises:
            ValueError: why it is refused, or no GPU is lent, in words.
        """
        if method in self._here:
            return self._here[method](*args)
        (answer,) = self._messages(Call(method, args))
        return answer

    def follow(self, method: str, args: Arguments, key: object) -> Stream:
        """As of Replicas; where a copy is lost the answer ends with an error."""
        stream, call = Stream(), Call(method, args([]))
        # Whose share of GPU time it takes is in Gradio's context.
        work = copy_context()
        Thread(target=work.run, args=(self._listen, stream, call), name="lent", daemon=True).start()
        return stream

    @property
    def writing(self) -> int:
        """Answers on their way."""
        return len(self._texts)

    def renew(self) -> None:
        """Refuse what Replicas do.

        Raises:
            ValueError: always.
        """
        raise ValueError("a ZeroGPU Space reads its models when it starts; restart it")

    def close(self) -> None:
        """Ask no more, and let what is on its way end with its next message."""
        self.alive = False

    def seconds(self, call: Call) -> int:
        """How long a call may take; then its copy is cut off."""
        model, passes = work_of(call)
        config = self._catalog.config(model or self._catalog.models[0])
        return seconds_for(passes, config, most=self.settings.limits.seconds)

    # --- what needs no GPU ----------------------------------------------------------------------

    def _have(self, name: str) -> None:
        if name not in self._copies.held:
            with self._catalog.unlocated(name):
                self._copies.hold(name)

    def _describe(self, name: str) -> dict[str, str | int]:
        held = self._copies.held.get(name)
        if held is not None:
            return held.about
        dtype = str(self._copies.dtype).removeprefix("torch.")
        with self._catalog.unlocated(name):
            return self._catalog.describe(name, dtype=dtype)

    # --- what does ------------------------------------------------------------------------------

    def _messages(self, call: Call) -> Generator[Any, None, None]:
        """What a copy answers, as it comes; closing the iterator ends the work."""
        if not self.alive:
            raise Closed
        try:
            with closing(self._lent(call)) as answers:
                for message in answers:
                    if isinstance(message, Failed):
                        raise message.error
                    yield message
        except Exception as error:
            said = getattr(error, "message", None)  # gradio.Error, by which the Space says no
            if said is None:
                raise
            raise ValueError(f"{getattr(error, 'title', 'ZeroGPU')}: {said!s}") from None

    def _listen(self, stream: Stream, call: Call) -> None:
        self._texts.add(stream)
        try:
            with closing(self._messages(call)) as messages:
                for message in messages:
                    for one in message:
                        stream.put(one)
                    if stream.closed or not self.alive:
                        break
            stream.end()
        except Exception as error:
            stream.end(error)
        finally:
            self._texts.discard(stream)


def work_of(call: Call) -> tuple[str, int]:
    """Which model a call is for, empty for the first, and how often it runs through that."""
    if call.method == "write":
        request, begun, *_ = call.args
        return begun.model, request.max_new_tokens
    _, method, _, named = call.args
    return named.get("model") or named.get("classifier", ""), MANY.get(method, 1)


def seconds_for(passes: int, config: GPT2Config, *, most: float) -> int:
    """The time to ask for: that of so many passes on a slow day, and of what comes before.

    Args:
        most: seconds that a text may take.
    """
    one = config.n_layer * LAYER + parameter_count(config) / PARAMETERS
    return START + ceil(min(passes * one, most))
