"""Writing: a request is checked, and the model thread has its text among those that it writes."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence

import numpy as np

from gpt2 import fast
from gpt2.checks import check_number, check_text
from gpt2.engine.drafts import Drafts
from gpt2.engine.library import Library, Models
from gpt2.engine.request import Limits, Request
from gpt2.engine.row import Order, Row
from gpt2.engine.stream import Stream
from gpt2.lens import Scales, scaled_model
from gpt2.records import Trace, Update


class BaseWriter(ABC):
    """Writes completions; any number of threads may ask."""

    def __init__(self, library: Models, limits: Limits) -> None:
        """Write with a library's models."""
        self.library, self.catalog, self.limits = library, library.catalog, limits

    def begin(self, request: Request) -> Trace:
        """A completion of no tokens yet: the request in order, its prompt as tokens.

        A prompt that does not fit keeps its end, with room for the whole completion before it.

        Raises:
            ValueError: the request asks for more than the limits allow, or for nonsense.
        """
        limit = self.limits.new_tokens
        check_number("max_new_tokens", request.max_new_tokens, 1, limit, whole=True)
        check_text(request.stop)
        name = request.model or self.catalog.models[0]
        if name not in self.catalog.models:
            there = ", ".join(self.catalog.models)
            raise ValueError(f"no language model {name!r}; there are: {there}")
        self.library.get(name)
        ids, n_ctx = (
            self.catalog.encode(request.prompt, model=name),
            self.catalog.config(name).n_ctx,
        )
        kept = len(ids) if len(ids) <= n_ctx else max(1, n_ctx - request.max_new_tokens)
        return Trace(
            model=name,
            prompt=request.prompt,
            prompt_ids=tuple(ids[-kept:]),
            truncated=len(ids) - kept,
            completion="",
            steps=(),
            seed=request.sampling.seed,
        )

    def forced(
        self, request: Request, begun: Trace, ids: Sequence[int], position: int, token: object
    ) -> tuple[int, ...]:
        """The tokens a branch of a text begins with: the drawn ones before a place, and the chosen.

        Args:
            begun: what `begin` gave for the request.
            ids: the text, prompt and drawn tokens (Trace.ids).
            position: index in ids of the token to replace, a drawn one.
            token: what to put there, from there on if it is more than one.

        Raises:
            ValueError: the text, the position or the token is none.
        """
        prompt, count = begun.prompt_ids, request.max_new_tokens
        if tuple(ids[: len(prompt)]) != prompt:
            raise ValueError("the text does not begin with the prompt's tokens; send Trace.ids")
        last = min(len(ids), len(prompt) + count) - 1
        check_number("position", position, len(prompt), last, whole=True)
        chosen = tuple(token) if isinstance(token, list | tuple) else (token,)
        for written in (*ids[len(prompt) :], *chosen):
            vocabulary = self.catalog.config(begun.model).vocab_size
            check_number("token", written, 0, vocabulary - 1, whole=True)
        room = count - (position - len(prompt))
        if not 1 <= len(chosen) <= room:
            raise ValueError(
                f"{len(chosen)} tokens are to go on from; at position {position} there is room for "
                f"1 to {room} of max_new_tokens {count}"
            )
        return (*ids[len(prompt) : position], *chosen)

    def write(
        self,
        request: Request,
        begun: Trace,
        *,
        scales: Scales | None = None,
        forced: Sequence[int] = (),
    ) -> Generator[Update, None, None]:
        """A completion, token by token; closing the iterator ends the work at once.

        What is drawn depends on the request, the place and the tokens before it alone. So a text
        whose writer is gone goes on anywhere, forced to the tokens that it has.

        Args:
            begun: what `begin` gave for the request.
            scales: parts of the model to turn off, down or up while writing.
            forced: tokens that it begins with.
        """
        with self.start(request, begun, scales=scales, forced=forced) as stream:
            yield from stream.updates()

    @abstractmethod
    def start(
        self,
        request: Request,
        begun: Trace,
        *,
        scales: Scales | None = None,
        forced: Sequence[int] = (),
        spent: float = 0.0,
    ) -> Stream:
        """The same for who waits without a thread; leaving the stream's context ends the work.

        Args:
            request, begun, scales, forced: as of write.
            spent: seconds that another writer has taken for the beginning; they count as its own.
        """


class Writer(BaseWriter):
    """Writes with the models of this process."""

    def __init__(self, library: Library, limits: Limits) -> None:
        """Write with a library's models."""
        super().__init__(library, limits)
        self._library, self._scheduler = library, library.scheduler
        self.drafts = Drafts(limits.draft_bytes)

    def start(
        self,
        request: Request,
        begun: Trace,
        *,
        scales: Scales | None = None,
        forced: Sequence[int] = (),
        spent: float = 0.0,
    ) -> Stream:
        loaded = self._library.get(begun.model)

        def decoder() -> fast.Decoder:
            if scales is None:
                return loaded.decoder
            if isinstance(loaded.decoder, fast.NativeDecoder):
                return loaded.decoder.scaled(np.array(scales.factors))
            return fast.decoder(scaled_model(loaded.backbone, scales))

        row = Row(
            Order(
                request=request,
                begun=begun,
                forced=forced,
                name=(begun.model, scales),
                decoder=decoder,
                smaller=self._library.smaller(begun.model),
                tokenizer=self.catalog.tokenizer(begun.model),
                drafts=self.drafts,
                seconds=self.limits.seconds,
                tally=self._scheduler.tally,
                spent=spent,
            )
        )
        self._scheduler.write(row)
        return row.stream
