"""Writing: a request is checked, its prompt read once, and its tokens drawn one by one."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice

from gpt2.checks import check_number, check_text
from gpt2.engine.drafts import Drafts
from gpt2.engine.library import Library
from gpt2.engine.request import Limits, Request
from gpt2.generate import go_on
from gpt2.lens import Scales, scaled_model
from gpt2.records import Step, Trace, Update


class Writer:
    """Writes completions; any number of threads may ask."""

    def __init__(
        self, library: Library, limits: Limits, turn: AbstractContextManager[object]
    ) -> None:
        """Write with a library's models.

        Args:
            turn: held for each token, so that several texts take turns.
        """
        self.library, self.catalog = library, library.catalog
        self.limits, self._turn = limits, turn
        self.drafts = Drafts(limits.draft_bytes)

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
        """A completion, token by token; closing the iterator stops the work at once.

        What is drawn depends on the request, the place and the tokens before it alone. So a text
        whose writer is gone goes on anywhere, forced to the tokens that it has.

        Args:
            begun: what `begin` gave for the request.
            scales: parts of the model to turn off, down or up while writing.
            forced: tokens that it begins with.
        """
        start, stop = time.perf_counter(), request.stop
        tokenizer = self.catalog.tokenizer(begun.model)
        decoder, text, shown = tokenizer.decoder(), "", 0
        steps = self._steps(request, begun, scales, forced)
        reason = ""
        while not reason:
            with self._turn:
                step = next(steps)
            seconds = time.perf_counter() - start
            late = "deadline" if seconds > self.limits.seconds else ""
            reason = step.finish_reason or late
            if step.id != tokenizer.end_id:
                text += decoder.feed(step.id)
            if reason:
                text += decoder.flush()
            if stop and stop in text:
                text, reason = text[: text.index(stop)], "stop"
            end = len(text) if reason else len(text) - overlap(text, stop)
            yield Update(step, text[shown:end], reason, seconds)
            shown = end

    def follow(
        self, request: Request, begun: Trace, chosen: Sequence[tuple[int, int]]
    ) -> Iterator[Update]:
        """A completion in which some tokens were chosen by hand, all others drawn as ever.

        Args:
            begun: what `begin` gave for the request.
            chosen: places in the whole text, in order, and the token at each.

        Raises:
            ValueError: a place or a token is none.
        """
        first = len(begun.prompt_ids)
        forced: tuple[int, ...] = ()
        for place, token in chosen:
            written = [*begun.prompt_ids, *forced]
            if len(written) < place:  # up to there as it was drawn, which a draft remembers
                updates = self.write(request, begun, forced=forced)
                more = islice(updates, len(forced), place - first)
                written += [update.step.id for update in more]
                updates.close()
            forced = self.forced(request, begun, (*written, token), place, token)
        yield from self.write(request, begun, forced=forced)

    def _steps(
        self, request: Request, begun: Trace, scales: Scales | None, forced: Sequence[int]
    ) -> Iterator[Step]:
        """The tokens of a completion; those that a kept one shares are not computed again."""
        prompt, sampling, count = begun.prompt_ids, request.sampling, request.max_new_tokens
        backbone = self.library.get(begun.model).backbone
        model = scaled_model(backbone, scales) if scales else backbone
        end_id = self.catalog.tokenizer(begun.model).end_id
        name = (begun.model, scales)
        draft = self.drafts.open(
            model,
            name,
            prompt,
            sampling,
            written=forced[:-1],
            capacity=min(model.config.n_ctx, len(prompt) + count),
        )
        steps = list(draft.steps)
        yield from draft.steps
        try:
            for step in go_on(
                model,
                draft.start,
                [*prompt, *(step.id for step in draft.steps)],
                sampling,
                max_new_tokens=count - len(draft.steps),
                eos=-1 if end_id is None else end_id,
                forced=forced[len(draft.steps) :],
            ):
                steps.append(step)
                yield step
        finally:
            self.drafts.keep(name, sampling, replace(draft, steps=tuple(steps)))


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of text that begins stop: it may yet become it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
