"""What the page asks about: a text, a place in it, and how it is looked at.

The browser keeps it and sends it along with every event; here it is checked like any input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gpt2.checks import check_number
from gpt2.engine import Engine, Request, Sampling

SETTINGS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")
NARROWEST, WIDEST = 300, 1040  # CSS pixels that a picture is drawn for
RELOAD = "load the page again"
KINDS = {"generate": "language model", "classify": "classifier"}  # of models, by tab

Tab = Literal["generate", "classify"]
MOST_RUNS = 24  # places at which a text was gone on from, see static/branches.js

Choice = tuple[int, int]  # a place, and the token that the visitor put there


@dataclass(frozen=True)
class Text:
    """A text that stands on the page: enough to recompute every view of it.

    Args:
        request: what was asked for, its seed no longer random; of a news text its prompt alone.
        ids: of prompt and completion.
        prompt_length: how many are the prompt's.
        chosen: what the visitor put in the place of drawn tokens.
    """

    request: Request
    ids: tuple[int, ...]
    prompt_length: int
    chosen: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A text, a place in it, and how it is looked at.

    Args:
        key: of the answer, as the page will look for it.
        text: what stands on the page.
        selected: the place that the views are about.
        look: what the controls of the views hold, by name; each view checks its own.
        width: of the view, in CSS pixels.
        kept: slots that the page has already, of those that depend on less than their view.
    """

    key: str
    text: Text
    selected: int
    look: Mapping[str, Any]
    width: int = 700
    kept: frozenset[str] = frozenset()

    @property
    def model(self) -> str:
        """Name of the model that wrote or read the text."""
        return self.text.request.model

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens of the text."""
        return self.text.ids

    @property
    def sampling(self) -> Sampling:
        """How its tokens were drawn."""
        return self.text.request.sampling

    def number(self, name: str, low: int, high: int) -> int:
        """A whole number that a control holds, moved into its range; low where it holds none."""
        value = self.look.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            return low
        return min(max(low, value), high)

    def choice(self, name: str, among: Sequence[str]) -> str:
        """What a choice of a view is set to, the first where it holds none of them."""
        value = self.look.get(name)
        return value if isinstance(value, str) and value in among else among[0]

    def words(self, name: str, most: int = 200) -> str:
        """A text that a control holds, empty where it holds none."""
        value = self.look.get(name)
        return value[:most] if isinstance(value, str) else ""


def key_of(raw: object) -> str:
    """The key that an answer to this must carry."""
    key = raw.get("key") if isinstance(raw, dict) else None
    return key[:2000] if isinstance(key, str) else ""


def moment_of(raw: object) -> int:
    """When an event began, counted in events of its page; 0 where it does not say."""
    moment = raw.get("moment") if isinstance(raw, dict) else None
    return moment if isinstance(moment, int) and not isinstance(moment, bool) else 0


def read_asked(raw: object, engine: Engine, *, tab: Tab = "generate") -> Asked:
    """What an event of a view is about.

    Args:
        tab: of the view, whose texts are a language model's or a classifier's.

    Raises:
        ValueError: there is no text in it, or none that this tab could have.
    """
    raw = raw if isinstance(raw, dict) else {}
    text = read_text(raw.get("text"), engine, tab=tab)
    look = raw.get("look")
    look = look if isinstance(look, dict) else {}
    place, width = look.get("token"), look.get("width")
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(text.ids):
        place = min(text.prompt_length, len(text.ids) - 1)
    width = width if isinstance(width, int) and not isinstance(width, bool) else 700
    width, kept = max(NARROWEST, min(WIDEST, width)), raw.get("kept")
    kept = (
        frozenset(name for name in kept if isinstance(name, str))
        if isinstance(kept, list)
        else frozenset()
    )
    return Asked(key_of(raw), text, place, look, width, kept)


def read_text(raw: object, engine: Engine, *, tab: Tab = "generate") -> Text:
    """A text of a tab, its model one of this page's.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(raw, dict):
        raise ValueError("there is no text yet; write or read one first")
    request = read_request(raw)
    names = {"generate": engine.catalog.models, "classify": engine.catalog.classifiers}
    if request.model not in names[tab]:
        known = any(request.model in others for others in names.values())
        why = f"no {KINDS[tab]}" if known else "not here any more"
        raise ValueError(
            f"the text on the page is of {request.model[:60]!r}, which is {why}; there are: "
            f"{', '.join(names[tab])}; {tab} it again"
        )
    config = engine.catalog.config(request.model)
    ids, length = _integers(raw.get("ids"), "ids"), raw.get("prompt_length")
    if not 1 <= len(ids) <= config.n_ctx + 1 or not all(0 <= i < config.vocab_size for i in ids):
        raise ValueError(
            f"the text on the page is no text of {request.model}, which reads 1 to "
            f"{config.n_ctx + 1} tokens below {config.vocab_size}; {tab} it again"
        )
    if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= len(ids):
        raise ValueError(f"prompt_length is {length!r}; it must be 1 to {len(ids)}; {RELOAD}")
    return Text(request, ids, length, read_choices(raw.get("chosen")))


def read_request(raw: Mapping[str, Any]) -> Request:
    """What was asked for.

    Raises:
        ValueError: a setting is missing or out of its range.
    """
    settings = raw.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    prompt, model, stop = raw.get("prompt", ""), raw.get("model", ""), settings.get("stop", "")
    for name, value in (("prompt", prompt), ("model", model), ("stop", stop)):
        if not isinstance(value, str):
            raise ValueError(f"{name} is no text; {RELOAD}")
    given = {name: settings[name] for name in SETTINGS if name in settings}
    count = settings.get("max_new_tokens", 60)
    check_number("max_new_tokens", count, 1, 2**31 - 1, whole=True)
    return Request(prompt, int(count), Sampling(**given), stop, model)


def read_choices(raw: object) -> tuple[Choice, ...]:
    """Places and the tokens that were put there, in order.

    Raises:
        ValueError: it is no list of such pairs.
    """
    if not isinstance(raw, list | None):
        raise ValueError(f"the chosen tokens are no list; {RELOAD}")
    pairs = tuple(_integers(pair, "chosen") for pair in raw or ())
    if any(len(pair) != 2 for pair in pairs) or list(pairs) != sorted(pairs):
        raise ValueError(f"the chosen tokens must be pairs of place and token, in order; {RELOAD}")
    check_runs(pairs)
    return tuple((place, token) for place, token in pairs)


def check_runs(pairs: Sequence[tuple[int, ...]]) -> None:
    """Refuse a text that was changed in more places than its page allows: each is written up to.

    Raises:
        ValueError: there are more; tokens one after the other count once.
    """
    places = {pair[0] for pair in pairs}
    runs = sum(place - 1 not in places for place in places)
    if runs > MOST_RUNS:
        raise ValueError(
            f"tokens are chosen in {runs} places; a text may have {MOST_RUNS}; generate a new one"
        )


def _integers(raw: object, name: str) -> tuple[int, ...]:
    if not isinstance(raw, list) or not all(type(value) is int for value in raw):
        raise ValueError(f"{name} must be a list of whole numbers; {RELOAD}")
    return tuple(raw)
