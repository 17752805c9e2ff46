"""Between text and tokens: what a model's vocabulary makes of both, and a model's shape.

Imports: nothing of torch.
"""

from collections.abc import Sequence

from gpt2.checks import check_text
from gpt2.config import GPT2Config
from gpt2.engine.library import Library
from gpt2.engine.request import Limits


def check_length(text: str, limits: Limits, *, what: str = "prompt") -> str:
    """A text, once it is known to be one and short enough.

    Raises:
        ValueError: it is not, in one sentence.
    """
    check_text(text)
    if len(text) > limits.prompt_chars:
        raise ValueError(
            f"the {what} has {len(text):,} characters; the limit is {limits.prompt_chars:,}; "
            "shorten it"
        )
    return text


class Words:
    """`ids` are the tokens of a text, `model` a name in the library."""

    def __init__(self, library: Library, limits: Limits) -> None:
        self.library, self.limits = library, limits

    def check_text(self, text: str, *, what: str = "prompt") -> str:
        """A text, once it is known to be one and short enough; raises as check_length."""
        return check_length(text, self.limits, what=what)

    def encode(self, text: str, *, model: str) -> list[int]:
        """A text's tokens, <|endoftext|> for an empty one."""
        loaded = self.library.get(model)
        return loaded.tokenizer.encode(self.check_text(text)) or [loaded.start_id]

    def shape(self, model: str) -> GPT2Config:
        """A model's configuration."""
        return self.library.get(model).backbone.config

    def pieces(self, ids: Sequence[int], *, model: str) -> list[str]:
        """The visible forms of tokens."""
        tokenizer = self.library.get(model).tokenizer
        return [tokenizer.piece(token) for token in ids]

    def drawn(self, ids: Sequence[int], *, model: str) -> list[str]:
        """The tokens' own texts, as strips and pictures show them."""
        tokenizer = self.library.get(model).tokenizer
        return [tokenizer.drawn(token) for token in ids]

    def texts(self, ids: Sequence[int], *, model: str) -> list[str | None]:
        """The tokens' own characters, None for part of a character."""
        tokenizer = self.library.get(model).tokenizer
        return [tokenizer.text(token) for token in ids]

    def words(self, ids: Sequence[int], *, model: str) -> list[str]:
        """The tokens for a table: their own characters, the visible form of part of one."""
        tokenizer = self.library.get(model).tokenizer
        texts = ((token, tokenizer.text(token)) for token in ids)
        return [tokenizer.piece(token) if text is None else text for token, text in texts]

    def text(self, ids: Sequence[int], *, model: str) -> str:
        """What tokens say together; bytes that make no character show as U+FFFD."""
        return self.library.get(model).tokenizer.decode(ids)
