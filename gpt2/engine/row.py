"""A text while it is written: what of it is read next, what was drawn, what its reader is told."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from gpt2.cache import KVCache
from gpt2.engine.drafts import Draft, Drafts
from gpt2.engine.request import Request
from gpt2.engine.shortage import in_words
from gpt2.engine.stream import Stream
from gpt2.engine.tally import Tally
from gpt2.fast import Decoder, Drafter, Draw, Feed, Speculation
from gpt2.records import Step, Trace, Update
from gpt2.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be written, and with what.

    Args:
        request: what was asked for.
        begun: the completion of no tokens yet, its prompt as tokens.
        forced: tokens that it begins with.
        name: of the model and of all that changes what it computes.
        decoder: gives what writes it, called on the model thread.
        smaller: of a smaller model that guesses what it says, if there is one.
        tokenizer: of the model.
        drafts: may hold its beginning, and keep it.
        seconds: wall time it may take.
        tally: counts it.
        spent: how much of that was taken elsewhere.
    """

    request: Request
    begun: Trace
    forced: Sequence[int]
    name: Hashable
    decoder: Callable[[], Decoder]
    smaller: Decoder | None
    tokenizer: Tokenizer
    drafts: Drafts
    seconds: float
    tally: Tally
    spent: float = 0.0


class Row:
    """One text of the batch. All but its stream is the model thread's."""

    decoder: Decoder  # these two once it is open
    cache: KVCache

    def __init__(self, order: Order) -> None:
        self.order, self.stream = order, Stream(max(1, len(order.forced)))
        self.done = False  # it has ended
        self._ids = list(order.begun.prompt_ids)  # prompt and drawn tokens
        self._steps: list[Step] = []
        self._first: Tensor | None = None  # [V], the logits after the prompt
        self._guesses: list[int] = []  # that were read behind the last token
        self._speculation = Speculation()
        self._spell, self._text, self._shown = order.tokenizer.decoder(), "", 0
        self._asked, self._start = time.perf_counter(), 0.0
        self._reason = "cancelled"  # that it ends for, if nothing else ends it

    def open(self) -> None:
        """Make it ready: a cache, and what is remembered of it."""
        order, prompt = self.order, self.order.begun.prompt_ids
        self._start = time.perf_counter() - order.spent
        self.decoder = order.decoder()
        n_ctx = self.decoder.model.config.n_ctx
        capacity = min(n_ctx, len(prompt) + order.request.max_new_tokens)
        if order.smaller is not None:
            drafter = Drafter(order.smaller, order.request.sampling, capacity=capacity)
            self._speculation = Speculation(drafter)
        draft = order.drafts.open(
            order.name,
            prompt,
            order.request.sampling,
            written=order.forced[:-1],
            capacity=capacity,
        )
        if draft is None:
            self.cache = self.decoder.cache(capacity)
            return
        self.cache, self._first = draft.cache, draft.first
        for step in draft.steps:
            if not self.done:
                self._gain(step)
        if self.done:
            self.close()
        elif not draft.steps:  # all that is there is read
            self.take(self.decoder.choose(draft.first[None], self.draws()), draft.first)

    @property
    def unread(self) -> int:
        """How many of its tokens the model has not read; 1 once the prompt is."""
        return len(self._ids) - self.cache.length

    def feed(self, count: int, guesses: int) -> Feed:
        """The next tokens to read.

        Args:
            count: of the text, at most.
            guesses: what may follow the text, at most.
        """
        read = self.cache.length
        part = self._ids[read : read + count]
        last = count >= self.unread
        self._guesses = self._guess(guesses) if last else []
        return Feed(self.cache, part + self._guesses, len(self._guesses) + 1 if last else 0)

    def _guess(self, most: int) -> list[int]:
        """What may follow the text: what it is forced to, or what it has said before."""
        written = len(self._steps)
        left = self.order.request.max_new_tokens - written - 1
        most = min(most, left, self.cache.capacity - len(self._ids))
        if most <= 0:
            return []
        forced = self.order.forced[written : written + most]
        return list(forced) or self._speculation.guess(self._ids, most)

    def draws(self) -> list[Draw]:
        """What is to be chosen after the text, and after each guess as if it were right."""
        forced, written = self.order.forced, len(self._steps)
        return [
            Draw(
                self.order.request.sampling,
                [*self._ids, *self._guesses[:right]] if right else self._ids,
                forced[written + right] if written + right < len(forced) else None,
            )
            for right in range(len(self._guesses) + 1)
        ]

    def take(self, steps: Sequence[Step], logits: Tensor) -> None:
        """Gain what was chosen, as far as the guesses before it were right.

        Args:
            steps: one for each of the draws.
            logits: [V], that the first of them was drawn from.
        """
        if self._first is None:
            self._first = logits.clone()
        guesses, self._guesses = self._guesses, []
        right = 0
        while right < len(guesses) and steps[right].id == guesses[right]:
            right += 1
        if guesses and len(self._steps) >= len(self.order.forced):  # these were not forced
            self._speculation.learn(len(guesses), right, len(self._ids) + right + 1)
        for step in steps[: right + 1]:
            if not self.done:
                self._gain(step)
        self.cache.rewind(min(self.cache.length, len(self._ids) - 1))
        if self.done:
            self.close()

    def _gain(self, step: Step) -> None:
        """One token more, and what its reader is told of it."""
        order, request, tokenizer = self.order, self.order.request, self.order.tokenizer
        self._ids.append(step.id)
        reason = ""
        if step.id == tokenizer.end_id:
            reason = "eos"
        elif len(self._steps) + 1 == request.max_new_tokens:
            reason = "length"
        elif len(self._ids) > self.decoder.model.config.n_ctx:
            reason = "context"
        if reason != step.finish_reason:  # a remembered text may have ended where this one goes on
            step = replace(step, finish_reason=reason)
        self._steps.append(step)
        seconds = time.perf_counter() - self._start
        reason = reason or ("deadline" if seconds > order.seconds else "")
        if step.id != tokenizer.end_id:
            self._text += self._spell.feed(step.id)
        if reason:
            self._text += self._spell.flush()
        if request.stop and request.stop in self._text:
            self._text, reason = self._text[: self._text.index(request.stop)], "stop"
        end = len(self._text) - (0 if reason else overlap(self._text, request.stop))
        shown, self._shown, self.done = self._shown, end, bool(reason)
        self._reason = reason or self._reason
        order.tally.token(time.perf_counter() - self._asked if len(self._steps) == 1 else None)
        guessed = self._speculation.guessed, self._speculation.right
        self.stream.put(Update(step, self._text[shown:end], reason, seconds, guessed))

    def close(self, error: Exception | None = None) -> None:
        """End it: remember it, and tell its reader that this was all."""
        order, self.done = self.order, True
        if self._first is not None:
            draft = Draft(order.begun.prompt_ids, self._first, tuple(self._steps), self.cache)
            order.drafts.keep(order.name, order.request.sampling, draft)
        order.tally.ended(self._reason if error is None else "error")
        self.stream.end(None if error is None else in_words(error))


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of text that begins stop: it may yet become it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
