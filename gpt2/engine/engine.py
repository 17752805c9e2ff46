"""The engine: a catalog, a library, a writer and an inspector that share one model thread."""

from collections.abc import Iterator, Sequence

from gpt2.devices import pick_device, pick_dtype
from gpt2.engine.catalog import Catalog
from gpt2.engine.inspector import Inspector
from gpt2.engine.library import Library, Models
from gpt2.engine.request import Limits, Request
from gpt2.engine.writer import BaseWriter, Writer
from gpt2.lens import Scales
from gpt2.records import Pulse, Trace, Update


class Engine:
    """Text in, records out; any number of threads may ask.

    One thread computes; the completions that are written at a time share each of its steps. What is
    kept between requests saves work and changes no answer.
    """

    library: Models
    writer: BaseWriter

    def __init__(self, library: Library, limits: Limits) -> None:
        self.catalog, self.library, self.limits = library.catalog, library, limits
        self.writer = Writer(library, limits)
        self.inspector = Inspector(library, limits)

    @classmethod
    def load(
        cls,
        model: str = "mini",
        classifier: str = "mini-agnews",
        *,
        device: str = "auto",
        dtype: str = "auto",
        limits: Limits | None = None,
    ) -> "Engine":
        """Load a language model and a classifier, and list the others in checkpoints/.

        Args:
            model, classifier: names in checkpoints/ or directories.
            device: auto, cpu, cuda or mps.
            dtype: auto, float32, bfloat16, float16 or int8.

        Raises:
            FileNotFoundError, ValueError: a directory can't be loaded, or no such device or dtype.
        """
        limits, where = limits or Limits(), pick_device(device)
        numbers = pick_dtype(dtype, where)
        catalog = Catalog(model, classifier, limits)
        library = Library(catalog, device=where, dtype=numbers, keep=limits.models)
        return cls(library, limits)

    def close(self) -> None:
        """End the model thread; also done when the program ends, or the engine is forgotten."""
        self.library.close()

    def generate(self, request: Request, *, scales: Scales | None = None) -> Iterator[Trace]:
        """Write a completion, yielding what there is after every token.

        A request is checked before there is an iterator, so that who is refused has lost nothing.
        Closing the iterator stops the work at once.

        Args:
            scales: parts of the model to turn off, down or up while writing.

        Raises:
            ValueError: the request asks for more than the limits allow, or for nonsense.
        """
        begun = self.writer.begin(request)
        return _traces(begun, self.writer.write(request, begun, scales=scales))

    def branch(
        self,
        request: Request,
        ids: Sequence[int],
        position: int,
        token: int | Sequence[int],
        *,
        scales: Scales | None = None,
    ) -> Iterator[Trace]:
        """Write a completion again, but with another token, or several, at one place.

        What follows is drawn as ever, by seed and position: the token that was there gives the text
        that was there. Traces begin with the chosen tokens and hold the whole completion.

        Args:
            request: as it was for the text; max_new_tokens counts all drawn tokens, kept ones too.
            ids, position, token: as of Writer.forced.
            scales: as of generate.

        Raises:
            ValueError: as generate, or the text, the position or the token is none.
        """
        begun = self.writer.begin(request)
        forced = self.writer.forced(request, begun, ids, position, token)
        traces = _traces(begun, self.writer.write(request, begun, scales=scales, forced=forced))
        return (trace for trace in traces if len(trace.steps) >= len(forced) or trace.finish_reason)

    def pulse(self) -> Pulse:
        """How it is and what it has done, for whoever watches; asks the model thread nothing."""
        return self.library.pulse()

    def describe(self) -> dict[str, object]:
        """What is loaded and what can be asked for, as /models answers."""
        broken: list[dict[str, str]] = []

        def told(names: Sequence[str]) -> Iterator[dict[str, str | int]]:
            for name in names:
                try:
                    yield self.library.describe(name)
                except (OSError, ValueError) as error:
                    broken.append({"name": name, "reason": str(error)})

        return {
            "models": list(told(self.catalog.models)),
            "classifiers": list(told(self.catalog.classifiers)),
            "broken": broken,
            "device": self.library.device.type,
        }


def _traces(begun: Trace, updates: Iterator[Update]) -> Iterator[Trace]:
    """The completion after each update."""
    for update in updates:
        begun = begun.with_update(update)
        yield begun
