"""The address of the page: all that it takes to see the present view, and a proof that one does.

    #v=1.<tab>.<data>.<proof>.<check>

data    a JSON object, see below; UTF-8, raw deflate (RFC 1951), base64url
proof   a base64url digit for each token that the author's text had, see `proof`
check   CRC-32 of all before its point, in six base64url digits

The object holds, by name:

a       author: what the text was made with, see Made
m       model
p       prompt, or news text
s       settings: new tokens, then SETTINGS; a news text has none
x       stop text
c       chosen: places and the tokens that were put there, flat
l       look: the view, the token, the parts switched off, and the controls of the views

The browser writes it (static/address.js) and no server logs it: it is the part of an address that
stays in the browser. Here it is read, and checked like any input.
"""

import base64
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from gpt2 import __version__
from gpt2.checks import check_number
from gpt2.engine import Engine, Request, Sampling, check_text
from gpt2.figures import counted
from gpt2.ui.presets import VIEWS
from gpt2.ui.record import SETTINGS, Choice, check_runs

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"  # base64url
MOST_CHARS = 150_000  # of a link; in an address it has up to 2,000, what a browser keeps has more
MOST_BYTES = 250_000  # of its JSON; the longest prompt, escaped, is under half of it
MOST_PROOF = 4_096
PART_KINDS = ("head", "mlp", "layer")
MOST_PARTS = 2_000
STRONGEST = 2.0

AGAIN = "ask for it again"
CUT = f"this link is cut short or was changed on its way; {AGAIN}"


@dataclass(frozen=True)
class Made:
    """What a text was made with, as far as its numbers depend on it.

    Args:
        weights: the first digits of their SHA-256.
        dtype, device: what they were computed in, and on.
        version: of this program.
    """

    weights: str
    dtype: str
    device: str
    version: str


@dataclass(frozen=True)
class Link:
    """What a link asks for.

    Args:
        tab: "generate" or "classify".
        request: what is to be written; of a news text its prompt and model alone.
        chosen: tokens that the author put in the place of drawn ones.
        look: how it is to be looked at, as the page's record holds it.
        made: what the author's text was made with.
        proof: of the author's tokens, empty if the text was not finished; of a news text, of the
            topic that led after each token.
    """

    tab: str
    request: Request
    chosen: tuple[Choice, ...]
    look: Mapping[str, Any]
    made: Made
    proof: str = ""


def made_with(engine: Engine, model: str) -> Made:
    """What a text of this page is made with."""
    about = engine.library.describe(model)
    device = engine.library.device.type
    return Made(str(about["sha256"])[:8], str(about["dtype"]), device, __version__)


def proof(ids: Iterable[int]) -> str:
    """What a link says of its author's tokens: a digit for each, which depends on all before it."""
    digits, state = [], 0
    for token in ids:
        state = zlib.crc32(token.to_bytes(4, "little"), state)
        digits.append(DIGITS[state & 63])
    return "".join(digits)


def verdict(link: Link, ids: Sequence[int], here: Made, *, first: int = 0) -> str:
    """Whether these are the tokens that a link's author had, or the topics.

    Args:
        ids: what was written, or which topic leads after each token of a news text.
        here: what it was made with.
        first: the place of the first of them in the text, as the page counts.
    """
    theirs, ours, news = link.proof, proof(ids), link.tab == "classify"
    if not theirs:
        return "nothing to compare with: the link was made while its text was being written"
    same = min(len(theirs), len(ours))
    for place in range(same):
        if theirs[place] != ours[place]:
            what = "another topic leads" if news else "differs"
            return f"{what} from token {first + place} on: {_cause(link.made, here)}"
    if len(ours) < len(theirs):
        return f"the same as the first {same} of the author's {len(theirs)} tokens"
    more = f", and {len(ours) - same} more" if len(ours) > same else ""
    what = "topics after " if news else ""
    return f"the same {what}{counted(same, 'token')} as the author's{more}"


def _cause(there: Made, here: Made) -> str:
    """Why two machines may write differently: what of theirs is not the same."""
    words: list[tuple[str, str]] = []
    for name, other in asdict(there).items():
        own = getattr(here, name)
        if other != own:
            title = f"{name} " if name in ("weights", "version") else ""
            words.append((f"{title}{other}", f"{title}{own}"))
    if not words:
        return "the numbers of this machine round differently"
    theirs, ours = (" and ".join(side) for side in zip(*words, strict=True))
    return f"{theirs} there, {ours} here"


def check_digits(body: str) -> str:
    """CRC-32 of all that stands before the last point, the # left out."""
    value = zlib.crc32(body.encode("utf-8"))
    return "".join(DIGITS[value >> shift & 63] for shift in range(0, 36, 6))


# --- reading ---------------------------------------------------------------------------------


def asked_link(raw: object) -> object | None:
    """The link that the page asks to be opened, unchecked; None if it asks for something else."""
    wanted = raw.get("wanted") if isinstance(raw, dict) else None
    return wanted.get("link") if isinstance(wanted, dict) else None


def read_link(fragment: object, engine: Engine) -> Link:
    """What a link asks for.

    Raises:
        ValueError: it can't be had, in one sentence that says why and what to do.
    """
    tab, data, tokens = _unpacked(fragment)
    if tab not in VIEWS:
        _refuse(f"a tab that is not here; there are: {', '.join(VIEWS)}")
    model = _words(data.get("m"), "model")
    names = engine.catalog.models if tab == "generate" else engine.catalog.classifiers
    if model not in names:
        _refuse(f"the model {model[:60]!r}, which is not here; there are: {', '.join(names)}")
    prompt, stop = _words(data.get("p"), "prompt"), _words(data.get("x", ""), "stop text")
    request = Request(prompt, model=model)
    chosen: tuple[Choice, ...] = ()
    if tab == "generate":
        count, sampling = _settings(data.get("s"), engine.limits.new_tokens)
        request = Request(prompt, count, sampling, stop, model)
        chosen = _chosen(data.get("c"), engine.catalog.config(model).vocab_size)
    look = _look(data.get("l"), tab, engine, model)
    return Link(tab, request, chosen, look, _made(data.get("a")), tokens)


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"this link asks for {what}; {AGAIN}, made on this page")


def _unpacked(fragment: object) -> tuple[str, dict[str, Any], str]:
    """The tab, the data and the proof of a link that is whole."""
    if not isinstance(fragment, str) or not fragment.isascii():
        raise ValueError(CUT)
    if len(fragment) > MOST_CHARS:
        raise ValueError(
            f"this link has {len(fragment):,} characters, more than the {MOST_CHARS:,} that a link "
            f"may have; {AGAIN}"
        )
    body, _, check = fragment.removeprefix("#").rpartition(".")
    version, *parts = body.split(".")
    if re.fullmatch(r"v=\d{1,9}", version) and version != "v=1":
        raise ValueError(
            f"this link is of another version of this page ({version}; here it is v=1); {AGAIN}, "
            "made on this page"
        )
    if version == "v=1" and len(parts) == 2 and parts[1] == "long":
        raise ValueError(
            "the text of this link is too long for an address, and this browser tab did not write "
            "it; ask its author for the text itself"
        )
    if version != "v=1" or len(parts) != 3 or check != check_digits(body):
        raise ValueError(CUT)
    tab, digits, tokens = parts
    if re.search(r"[^\w-]", digits + tokens) or len(digits) % 4 == 1 or len(tokens) > MOST_PROOF:
        raise ValueError(CUT)
    unpacker = zlib.decompressobj(-15)
    try:
        packed = base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
        words = unpacker.decompress(packed, MOST_BYTES)
    except (zlib.error, ValueError):
        raise ValueError(CUT) from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"this link holds more than a text and its settings; {AGAIN}")
    try:
        # What JavaScript writes has no NaN; where a number is needed None is refused.
        data = json.loads(words.decode("utf-8"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise ValueError(CUT) from None
    if not isinstance(data, dict) or not unpacker.eof:
        raise ValueError(CUT)
    return tab, data, tokens


def _words(value: object, name: str, most: int = MOST_CHARS) -> str:
    if not isinstance(value, str) or len(value) > most:
        _refuse(f"a {name} that is no text of up to {most:,} characters")
    try:
        check_text(value)
    except ValueError as error:
        raise ValueError(f"the {name} of this link: {error}") from None
    return value


def _number(value: object, name: str, low: float, high: float, *, whole: bool = True) -> Any:
    """A number in its range, 1.0 told from 1 where that matters."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(f"a {name} that is no number")
    try:
        return check_number(name, value, low, high, whole=whole)
    except ValueError as error:
        raise ValueError(f"this link can't be opened: {error}; {AGAIN}") from None


def _settings(value: object, most: int) -> tuple[int, Sampling]:
    if not isinstance(value, list) or len(value) != 1 + len(SETTINGS):
        _refuse("settings that are not those of this page")
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in value):
        _refuse("a setting that is no number")
    count, *others = value
    try:
        sampling = Sampling(**dict(zip(SETTINGS, others, strict=True)))
    except ValueError as error:
        raise ValueError(f"this link can't be opened: {error}; {AGAIN}") from None
    return _number(count, "max_new_tokens", 1, most), sampling


def _chosen(value: object, vocabulary: int) -> tuple[Choice, ...]:
    """Pairs of place and token, which a link holds one after the other."""
    if not isinstance(value, list) or len(value) % 2 or len(value) > 2 * MOST_PROOF:
        _refuse("chosen tokens that are no pairs of place and token")
    places = [_number(place, "chosen place", 1, 10**6) for place in value[::2]]
    tokens = [_number(token, "chosen token", 0, vocabulary - 1) for token in value[1::2]]
    if places != sorted(set(places)):
        _refuse("chosen tokens that are not in order")
    chosen = tuple(zip(places, tokens, strict=True))
    check_runs(chosen)
    return chosen


def _made(value: object) -> Made:
    if not isinstance(value, list) or len(value) != 4:
        _refuse("a text of which it does not say what it was made with")
    for word in value:
        if not isinstance(word, str) or not re.fullmatch(r"[\w.+-]{0,24}", word, re.ASCII):
            _refuse("a text made with what has no name")
    return Made(*value)


def _look(value: object, tab: str, engine: Engine, model: str) -> dict[str, Any]:
    """How a text is looked at; each view checks its own controls' values again."""
    if not isinstance(value, dict) or len(value) > 60:
        _refuse("a view of which it does not say what it shows")
    config = engine.catalog.config(model)
    layers, heads = config.n_layer, config.n_head
    look: dict[str, Any] = {"parts": []}
    for name, held in value.items():
        if not re.fullmatch(r"[a-z]\w{0,29}", name, re.ASCII):
            _refuse("a control that has no name")
        if name == "view":
            if held not in VIEWS[tab]:
                _refuse(f"a view that is not here; there are: {', '.join(VIEWS[tab])}")
        elif name == "token":
            held = None if held is None else _number(held, name, 0, config.n_ctx)
        elif name == "layer":
            held = _number(held, name, 0, layers - 1)
        elif name == "head":
            held = _number(held, name, -1, heads - 1)
        elif name == "parts":
            held = _parts(held, layers, heads)
        elif isinstance(held, str):
            held = _words(held, "control", engine.limits.prompt_chars)
        elif isinstance(held, int | float) and not isinstance(held, bool):
            held = _number(held, "control", -(10**9), 10**9, whole=isinstance(held, int))
        elif held is not None and not isinstance(held, bool):
            _refuse("a control that holds neither a word nor a number")
        look[name] = held
    return look


def _parts(value: object, layers: int, heads: int) -> list[list[Any]]:
    """Parts of the model and how strong they are: [kind, layer, head, scale]."""
    if not isinstance(value, list) or len(value) > MOST_PARTS:
        _refuse("parts to be switched off that are no list")
    parts = []
    for part in value:
        if not isinstance(part, list) or len(part) != 4 or part[0] not in PART_KINDS:
            _refuse("a part of the model that there is not")
        kind, layer, head, scale = part
        layer, head = _number(layer, "layer", 0, layers - 1), _number(head, "head", 0, heads - 1)
        parts.append([kind, layer, head, _number(scale, "scale", 0, STRONGEST, whole=False)])
    return parts
