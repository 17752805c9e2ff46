"""The model as the page and the API see it: text in, records and arrays out.

Owns models, tokenizers and the device. One lock guards the model; a generation takes it token by
token, so that several take turns. What is kept between requests saves work and changes no answer.
Imports: torch.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from gpt2.checks import check_number, check_text
from gpt2.devices import pick_device, pick_dtype
from gpt2.engine.drafts import Drafts
from gpt2.engine.inspector import Inspector
from gpt2.engine.library import Library, Loaded
from gpt2.engine.memory import Memory
from gpt2.engine.request import Limits, Request
from gpt2.engine.words import Words
from gpt2.generate import generate
from gpt2.lens import Scales, scaled_model
from gpt2.records import Step, Trace
from gpt2.sampling import Sampling


class Engine(Words, Inspector):
    """Answers requests; any number of threads may ask."""

    def __init__(self, library: Library, limits: Limits) -> None:
        Words.__init__(self, library, limits)
        self._slot = threading.Lock()
        streams: Memory[Tensor] = Memory(limits.observed_bytes)
        Inspector.__init__(self, library, limits, lock=self._slot, streams=streams)
        self._drafts = Drafts(limits.draft_bytes)

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
            dtype: auto, float32, bfloat16 or float16.

        Raises:
            FileNotFoundError, ValueError: a directory can't be loaded, or no such device or dtype.
        """
        limits, where = limits or Limits(), pick_device(device)
        number_type = pick_dtype(dtype, where)
        library = Library(model, classifier, device=where, dtype=number_type, keep=limits.models)
        return cls(library, limits)

    def prompt_ids(self, prompt: str, *, max_new_tokens: int, model: str) -> tuple[list[int], int]:
        """The tokens a prompt becomes, and how many were dropped on the left to fit the context.

        A prompt that does not fit keeps its end, with room for the whole completion before it.
        """
        loaded = self.library.get(model)
        n_ctx = loaded.backbone.config.n_ctx
        ids = loaded.tokenizer.encode(self.check_text(prompt)) or [loaded.start_id]
        if len(ids) <= n_ctx:
            return ids, 0
        kept = max(1, n_ctx - max_new_tokens)
        return ids[-kept:], len(ids) - kept

    def generate(self, request: Request, *, scales: Scales | None = None) -> Iterator[Trace]:
        """Write a completion, yielding what there is after every token.

        A request is checked before there is an iterator, so that who is refused has lost nothing.
        Closing the iterator stops the work at once.

        Args:
            scales: parts of the model to turn off, down or up while writing.

        Raises:
            ValueError: the request asks for more than the limits allow, or for nonsense.
        """
        return self._write(self._begin(request), request, scales, ())

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
            ids: the text, prompt and drawn tokens (Trace.ids); those from `position` on are
                left behind.
            position: index in ids of the token to replace, a drawn one.
            token: what to put there, from there on if it is more than one.
            scales: as of generate.

        Raises:
            ValueError: as generate, or the text, the position or the token is none.
        """
        begun = self._begin(request)
        loaded, count, prompt = begun.loaded, begun.count, begun.ids
        if tuple(ids[: len(prompt)]) != prompt:
            raise ValueError("the text does not begin with the prompt's tokens; send Trace.ids")
        last = min(len(ids), len(prompt) + count) - 1
        check_number("position", position, len(prompt), last, whole=True)
        chosen = tuple(token) if isinstance(token, list | tuple) else (token,)
        vocabulary = loaded.backbone.config.vocab_size
        for written in (*ids[len(prompt) :], *chosen):
            check_number("token", written, 0, vocabulary - 1, whole=True)
        room = count - (position - len(prompt))
        if not 1 <= len(chosen) <= room:
            raise ValueError(
                f"{len(chosen)} tokens are to go on from; at position {position} there is room for "
                f"1 to {room} of max_new_tokens {count}"
            )
        forced = (*ids[len(prompt) : position], *chosen)
        traces = self._write(begun, request, scales, forced)
        return (trace for trace in traces if len(trace.steps) >= len(forced) or trace.finish_reason)

    def _begin(self, request: Request) -> "_Begun":
        """What a completion begins with, once the request is in order."""
        limit = self.limits.new_tokens
        count = int(check_number("max_new_tokens", request.max_new_tokens, 1, limit, whole=True))
        check_text(request.stop)
        name = request.model or self.library.models[0]
        if name not in self.library.models:
            there = ", ".join(self.library.models)
            raise ValueError(f"no language model {name!r}; there are: {there}")
        loaded = self.library.get(name)
        ids, truncated = self.prompt_ids(request.prompt, max_new_tokens=count, model=loaded.name)
        return _Begun(loaded, count, tuple(ids), truncated)

    def _write(
        self, begun: "_Begun", request: Request, scales: Scales | None, forced: Sequence[int]
    ) -> Iterator[Trace]:
        """A completion that begins with the forced tokens, after each of its tokens."""
        loaded, count, ids = begun.loaded, begun.count, begun.ids
        start = time.perf_counter()
        trace = Trace(
            model=loaded.name,
            prompt=request.prompt,
            prompt_ids=ids,
            truncated=begun.truncated,
            completion="",
            steps=(),
            seed=request.sampling.seed,
        )
        decoder = loaded.tokenizer.decoder()
        text = ""
        steps = self._steps(loaded, ids, request.sampling, count, scales, forced)
        while not trace.finish_reason:
            with self._slot:
                step = next(steps)
            seconds = time.perf_counter() - start
            late = "deadline" if seconds > self.limits.seconds else ""
            reason = step.finish_reason or late
            if step.id != loaded.tokenizer.end_id:
                text += decoder.feed(step.id)
            if reason:
                text += decoder.flush()
            if request.stop and request.stop in text:
                text, reason = text[: text.index(request.stop)], "stop"
            shown = text if reason else text[: len(text) - _overlap(text, request.stop)]
            trace = replace(
                trace,
                completion=shown,
                steps=(*trace.steps, step),
                finish_reason=reason,
                seconds=seconds,
            )
            yield trace

    def _steps(
        self,
        loaded: Loaded,
        prompt: Sequence[int],
        sampling: Sampling,
        count: int,
        scales: Scales | None,
        forced: Sequence[int],
    ) -> Iterator[Step]:
        """The tokens of a completion; those that a kept one shares are not computed again."""
        model = scaled_model(loaded.backbone, scales) if scales else loaded.backbone
        name, room = (loaded.name, scales), model.config.n_ctx
        draft = self._drafts.open(
            model,
            name,
            prompt,
            sampling,
            written=forced[:-1],
            capacity=min(room, len(prompt) + count),
        )
        steps = list(draft.steps)
        yield from draft.steps
        try:
            for step in generate(
                model,
                [*prompt, *(step.id for step in draft.steps)],
                sampling,
                max_new_tokens=count - len(draft.steps),
                eos=-1 if loaded.tokenizer.end_id is None else loaded.tokenizer.end_id,
                start=draft.start,
                forced=forced[len(draft.steps) :],
            ):
                steps.append(step)
                yield step
        finally:
            self._drafts.keep(name, sampling, replace(draft, steps=tuple(steps)))

    def describe(self) -> dict:
        """What is loaded and what can be asked for, as /models answers."""
        library, broken = self.library, []

        def told(names: Sequence[str]) -> Iterator[dict]:
            for name in names:
                try:
                    yield library.describe(name)
                except (OSError, ValueError) as error:
                    broken.append({"name": name, "reason": str(error)})

        return {
            "models": list(told(library.models)),
            "classifiers": list(told(library.classifiers)),
            "broken": broken,
            "device": library.device.type,
        }


@dataclass(frozen=True)
class _Begun:
    """A request in order: its model, how many tokens, the prompt's, and how many were dropped."""

    loaded: Loaded
    count: int
    ids: tuple[int, ...]
    truncated: int


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of text that begins stop: it may yet become it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
