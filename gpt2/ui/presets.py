"""What the page offers for one click: a text, a place in it, and what there is to see there.

Each was chosen because it shows a behaviour of the shipped model. Another model, or the same in
bfloat16, may write another text; there the same behaviour is looked for by a rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from gpt2.engine import Request, Sampling
from gpt2.records import HEAD_LABELS

# The models of which the tokens, heads and numbers below are true.
SHIPPED = {"generate": "mini", "classify": "mini-agnews"}

Tab = Literal["generate", "classify"]
VIEWS: dict[Tab, tuple[str, ...]] = {
    "generate": ("next", "attention", "layers", "switch", "why", "score"),
    "classify": ("decided", "attention", "why", "many"),
}
# Which token of another model's text is selected: the one with the same index, the last one, the
# new word of the highest rank, the first one drawn that closes a quotation, or the one at which
# the leading topic changed last.
TokenRule = Literal["same", "last", "unlikeliest", "closing", "turn"]
# Which head of another model is shown: the one that was measured to be most of a kind, or the one
# that looks most at the mark that opened a quotation.
OPENING_MARK = "opening mark"
HEAD_RULES = (*HEAD_LABELS, OPENING_MARK)


@dataclass(frozen=True)
class Preset:
    """A text, how it is written or read, and where to look.

    The settings mean what they mean in Sampling and Request; a classified text has no use for them.

    Args:
        name: what its button says, one to three words.
        words: what there is to see, in plain English that any GPT-2 may stand behind.
        prompt: the beginning to continue, or the news text to classify.
        view: that is opened, one of VIEWS[tab].
        measured: one more sentence, with the shipped model's numbers, for its text alone.
        tab: where it runs.
        max_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed, stop: settings.
        token: that is selected, by its index in prompt and completion; None is the first drawn.
        reads: what that token is in the shipped model's text, by which the text is recognized.
        layer: that the views of heads show, counted from 0.
        head: the same of the head, -1 is the mean of all.
        token_rule: where that token is in another model's text.
        head_rule: which head it is in another model, one of HEAD_RULES; empty for the mean of all.
        options: further controls of the view, by name.

    Raises:
        ValueError: no such view, rule, or token.
    """

    name: str
    words: str
    prompt: str
    view: str
    measured: str = ""
    tab: Tab = "generate"
    max_new_tokens: int = 40
    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: str = ""
    token: int | None = None
    reads: str = ""
    layer: int = 0
    head: int = -1
    token_rule: TokenRule = "same"
    head_rule: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        allowed: tuple[tuple[str, tuple[str, ...]], ...] = (
            ("tab", get_args(Tab)),
            ("view", VIEWS.get(self.tab, ())),
            ("token_rule", get_args(TokenRule)),
            ("head_rule", ("", *HEAD_RULES)),
        )
        for name, choices in allowed:
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; choose one of: {', '.join(choices)}")
        if self.token is not None and self.token < 1:
            raise ValueError(f"token is {self.token}; the first that is predicted is 1")

    def sentence(self, place: "Place") -> str:
        """What to look for there, with numbers where they hold."""
        return f"{self.words} {self.measured}" if place.as_measured else self.words

    def request(self, model: str = SHIPPED["generate"]) -> Request:
        """The completion it asks for."""
        sampling = Sampling(
            repetition_penalty=self.repetition_penalty,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            seed=self.seed,
        )
        return Request(self.prompt, self.max_new_tokens, sampling, self.stop, model)


@dataclass(frozen=True)
class Place:
    """Where to look in a text.

    Args:
        token: index in the whole text; the token before it is the one that predicted it.
        layer, head: of the views of heads; head -1 is the mean of all.
        as_measured: whether this is the shipped model's text, of which `measured` speaks.
    """

    token: int
    layer: int
    head: int
    as_measured: bool = False


PRESETS = (
    Preset(
        name="Repetition",
        words=(
            "At temperature 0 a text easily goes round in circles. This head finds where the same "
            "words stood before and looks at what came next."
        ),
        measured="Round by round “brave” rises from 10 % to 72 %.",
        prompt="The captain was a brave man, and",
        max_new_tokens=49,
        temperature=0,
        view="attention",
        token=56,
        reads=" brave",
        token_rule="last",
        layer=6,
        head=7,
        head_rule="induction",
    ),
    Preset(
        name="An invented name",
        words=(
            "Nobody is called that, yet the model spells it. Each cell: what the next piece loses "
            "with that head off; a few do the copying."
        ),
        measured="Without one of the 72 heads “bl” falls from 99.8 % to 8 %.",
        prompt="The wizard Zorblat lived in a tower. Every morning Zor",
        max_new_tokens=48,
        seed=2,
        view="switch",
        reads="bl",
        layer=5,
        head=2,
        head_rule="previous token",
    ),
    Preset(
        name="A quotation",
        words=(
            "Inside a quotation this head looks back at the mark that opened it; once it is "
            "closed, it lets go."
        ),
        measured="From each word of the first, 91 % of its attention or more.",
        prompt='The old woman looked at the sea and said, "I want a cup of coffee',
        max_new_tokens=14,
        temperature=0,
        repetition_penalty=1.2,
        view="attention",
        reads='."',
        token_rule="closing",
        layer=5,
        head=0,
        head_rule=OPENING_MARK,
    ),
    Preset(
        name="A year",
        words=(
            "Each layer's guess, as if it were the last. Watch for the one that sees a range of "
            "years."
        ),
        measured=(
            "For four layers “to” begins “to be”; “1918” starts at rank 12,374 and ends at 1."
        ),
        prompt="The First World War lasted from 1914 to",
        max_new_tokens=25,
        temperature=0,
        repetition_penalty=1.2,
        view="layers",
        reads=" 1918",
    ),
    Preset(
        name="A turning headline",
        words=(
            "The topic after each word, as if the text ended there. One word is enough to turn it."
        ),
        measured="Sports has 90 % at “its”; at “shares” Business takes over, and keeps the lead.",
        prompt="The team won the cup, and its shares jumped 12 percent on the stock exchange.",
        tab="classify",
        view="decided",
        token=8,
        reads=" shares",
        token_rule="turn",
    ),
    Preset(
        name="Temperature 1.5",
        words=(
            "Heat flattens the odds until the long tail wins. At temperature 0, in Repetition, "
            "the same beginning goes round in circles."
        ),
        measured="“batteries” was candidate 4,629, one chance in 35,000.",
        prompt="The captain was a brave man, and",
        max_new_tokens=19,
        temperature=1.5,
        top_k=0,
        seed=2,
        view="next",
        token=13,
        reads=" batteries",
        token_rule="unlikeliest",
    ),
    Preset(
        name="A rare word",
        words=(
            "The name is six pieces: Neb, uch, ad, ne, zz, ar. Hide a token and see what the "
            "selected piece loses."
        ),
        measured="Two pieces carry “zz”; “king” and “Babylon” hardly count.",
        prompt="The king of Babylon was called Neb",
        max_new_tokens=23,
        temperature=0,
        repetition_penalty=1.2,
        view="why",
        token=10,
        reads="zz",
        options={"method": "occlusion"},
    ),
    Preset(
        name="The first token",
        words=(
            "A bright left edge: the head that copies in Repetition finds nothing to copy here, "
            "and rests on the first token."
        ),
        measured="It gets 85 % of the attention.",
        prompt="The president said on Tuesday that",
        max_new_tokens=19,
        repetition_penalty=1.2,
        view="attention",
        token=24,
        reads=".",
        token_rule="last",
        layer=6,
        head=7,
        head_rule="induction",
    ),
)

# What the page opens with.
OPENING = Preset(
    name="Chance",
    words=(
        "The model only gives odds; a random number chooses. Choose another word and the story "
        "turns."
    ),
    measured="“Kingdom” had 69 %, “States” 29 %, and chance made a king of the United States.",
    prompt="The king of the United",
    max_new_tokens=40,
    temperature=0.8,
    repetition_penalty=1.2,
    seed=148,
    view="next",
    reads=" States",
)
