"""A completion: its tokens, and the distribution that each was drawn from."""

from dataclasses import dataclass, replace

FINISH_REASONS = ("length", "eos", "stop", "context", "deadline", "cancelled")


@dataclass(frozen=True)
class Step:
    """One token and the distribution it was taken from.

    Args:
        id: the token.
        prob: its probability under the raw softmax.
        sampled_prob: its probability after penalty, temperature and filters; 1 when greedy.
        logprob: natural log of prob.
        rank: 1 for the most likely token of the raw softmax.
        entropy: of the raw softmax, in nats.
        top_ids: the ten most likely tokens, most likely first.
        top_probs: their raw probabilities.
        top_sampled_probs: their probabilities after penalty, temperature and filters; 0 = cut.
        finish_reason: why generation ended with this token, empty when it did not.
    """

    id: int
    prob: float
    sampled_prob: float
    logprob: float
    rank: int
    entropy: float
    top_ids: tuple[int, ...]
    top_probs: tuple[float, ...]
    top_sampled_probs: tuple[float, ...]
    finish_reason: str = ""


@dataclass(frozen=True)
class Update:
    """What a completion has gained with its newest token.

    Args:
        step: the token; its finish_reason is the model's own.
        text: characters that can now be shown; fewer than the token's while a part of a character
            or of a stop text may yet follow, none of the stop text itself.
        finish_reason: one of FINISH_REASONS, empty while it goes on.
        seconds: wall time from the start of the prefill.
        guessed: tokens that were guessed ahead so far to write faster, and how many of them were
            right; of no meaning for the text.
    """

    step: Step
    text: str
    finish_reason: str
    seconds: float
    guessed: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Trace:
    """A completion so far, or, once finish_reason is set, the whole of it.

    Args:
        model: name of the model that wrote it.
        prompt: the text as it was given.
        prompt_ids: the tokens the model saw, <|endoftext|> alone for an empty prompt.
        truncated: prompt tokens dropped on the left because they did not fit the context.
        completion: the text written so far, cut before a stop text and without <|endoftext|>.
        steps: one record for each token drawn.
        seed: the seed used, never -1.
        finish_reason: one of FINISH_REASONS, empty while it goes on.
        seconds: wall time from the start of the prefill.
    """

    model: str
    prompt: str
    prompt_ids: tuple[int, ...]
    truncated: int
    completion: str
    steps: tuple[Step, ...]
    seed: int
    finish_reason: str = ""
    seconds: float = 0.0

    def with_update(self, update: Update) -> "Trace":
        """The completion with one token more."""
        return replace(
            self,
            completion=self.completion + update.text,
            steps=(*self.steps, update.step),
            finish_reason=update.finish_reason,
            seconds=update.seconds,
        )

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and drawn tokens, in order."""
        return self.prompt_ids + tuple(step.id for step in self.steps)

    @property
    def tokens_per_second(self) -> float:
        """Drawn tokens over wall time, prefill included; 0 before the first."""
        return len(self.steps) / self.seconds if self.seconds > 0 else 0.0
