"""gpt2.figures: what the pictures show, that every token draws, and that threads may draw."""

import io
import itertools
import math
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from gpt2 import figures
from gpt2.figures import DARK, LIGHT, Theme
from gpt2.figures.base.canvas import Pixels
from gpt2.figures.base.colors import CLASS_COLORS
from gpt2.figures.base.style import text_style
from gpt2.figures.base.text import fitted, fonts, label, settings, shorten
from gpt2.tokenizer import Tokenizer

VOCABULARY = Path(__file__).parents[2] / "checkpoints" / "mini"
LABELS = ("World", "Sports", "Business", "Sci/Tech")
HARD = ("$$", "$_$", "·$\\frac$", "\\", "^{", "%", "中文", "😀", "U+202E", "\\xE2", "◌́", "a\nb")
HARD += ("\ud800", "·antidisestablishmentarianism", "WWWWWWWWWWWW", "日本語日本語日本語", "", "ﷺ")
WIDTHS = (300, 350, 768, 1040)


def attention(tokens: int, *, heads: int = 1, seed: int = 0) -> np.ndarray:
    """Random causal attention, [H, T, T]."""
    scores = np.random.default_rng(seed).normal(size=(heads, tokens, tokens)) * 2
    weights = np.exp(scores) * np.tri(tokens)
    return weights / weights.sum(-1, keepdims=True)


def topics(tokens: int, *, seed: int = 0) -> np.ndarray:
    """Random probabilities, [T, 4]."""
    return np.random.default_rng(seed).dirichlet(np.ones(4), tokens)


def pieces(count: int) -> list[str]:
    return list(itertools.islice(itertools.cycle(HARD), count))


def curves(count: int, epochs: int = 3) -> tuple[np.ndarray, ...]:
    """Falling loss and rising accuracy over 32 texts a step, and held-out accuracy by epoch."""
    steps = np.arange(1, count + 1)
    loss = 1.4 * np.exp(-steps / count * 3)
    marks = np.linspace(count * 32 / epochs, count * 32, epochs)
    return steps * 32, loss, 1 - loss / 2, marks, np.linspace(0.8, 0.9, epochs)


COUNTS = np.array([[850, 20, 50, 30], [10, 930, 5, 5], [40, 3, 820, 87], [20, 0, 90, 840]])


def ten() -> figures.TokenBars:
    """Ten tokens: rows 7 to 9 cut, row 2 drawn."""
    probs = np.linspace(0.19, 0.01, 10)
    after = np.where(np.arange(10) < 7, probs * 1.09, 0)
    return figures.TokenBars(pieces(10), probs, after, 2)


PICTURES: dict[str, Callable[[], figures.Picture]] = {
    "probability": ten,
    "head": lambda: figures.HeadMap(attention(20)[0], pieces(20), layer=1, head=2),
    "class": lambda: figures.ClassBars(LABELS, topics(1)[0]),
    "topic": lambda: figures.TopicLines(topics(30), pieces(30), LABELS),
    "training": lambda: figures.TrainingCurves(*curves(60)),
    "confusion": lambda: figures.ConfusionTable(COUNTS, LABELS),
}


def drawn(figure: Figure) -> Figure:
    """The same figure, laid out."""
    figures.render(figure)
    return figure


def extents(found: Iterable[Text]) -> list[Bbox]:
    """Where texts lie, as the figures' own settings draw them."""
    with settings():
        return [text.get_window_extent() for text in found]


def said(figure: Figure) -> list[str]:
    """Every text of a figure that is not empty."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def all_inside(figure: Figure) -> None:
    """Every text lies inside the figure."""
    across, down = figure.bbox.size
    for text, box in zip(texts(figure), extents(texts(figure)), strict=True):
        assert min(box.x0, box.y0) >= -1, text
        assert box.x1 <= across + 1, text
        assert box.y1 <= down + 1, text


def none_overlap(figure: Figure) -> None:
    """No text lies on another."""
    found = list(zip(texts(figure), extents(texts(figure)), strict=True))
    assert len(found) >= 3
    for (one, box), (other, second) in itertools.combinations(found, 2):
        across = min(box.x1, second.x1) - max(box.x0, second.x0)
        down = min(box.y1, second.y1) - max(box.y0, second.y0)
        assert across <= 1 or down <= 4, (one, other)  # 4 px: boxes hold room for accents


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, WCAG 2.2."""
    low, high = sorted(float(linear(c) @ (0.2126, 0.7152, 0.0722)) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def linear(color: str) -> np.ndarray:
    """Linear-light RGB of an sRGB colour."""
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


# Text and tokens


@pytest.fixture(scope="module")
def vocabulary() -> list[str]:
    tokenizer = Tokenizer(VOCABULARY)
    return [tokenizer.drawn(token) for token in range(tokenizer.vocab_size)]


def test_every_token_can_be_drawn(vocabulary: list[str]) -> None:
    labels = [label(piece) for piece in vocabulary]
    assert len(labels) == 50257
    figure = Figure(figsize=(10, 10))
    for weight in ("normal", "bold"):  # one that is missing warns; the bold font has fewer
        figure.text(0, 0, "".join({*"".join(labels)}), **text_style(LIGHT, 8, weight=weight))
    for piece in (text for text in labels if {*text} & {*"$\\^_{}%"}):
        figure.text(0, 0, piece, **text_style(LIGHT, 8))
    assert len(figure.texts) > 100
    drawn(figure)


def test_labels_are_short_and_made_of_known_characters(vocabulary: list[str]) -> None:
    known = fonts()[1]
    for piece in vocabulary:
        shown = label(piece)
        assert len(shown) <= 12
        assert all(ord(character) in known for character in shown)
        assert shown == piece or shown.endswith("…") or {*shown} & {*"+⏎␣"}


def test_labels_are_the_tokens_own_text() -> None:
    """A picture of "col·lecció" showed "col lecció": the sign for a space is a letter there."""
    assert label("·lec") == "·lec"
    assert label(" Vienna") == " Vienna"
    assert label("\n\n") == "⏎⏎"
    assert label("  ") == "␣␣"


def test_labels_that_differ_in_a_space_alone_show_it() -> None:
    assert fitted(["the", " the", " cat", " the"], 12, 500) == ["the", "␣the", " cat", "␣the"]


def test_shorten_counts_wide_characters_twice() -> None:
    assert shorten("abcdefghijkl") == "abcdefghijkl"
    assert shorten("abcdefghijklm") == "abcdefghijk…"
    assert shorten("日本語日本語") == "日本語日本語"
    assert shorten("日本語日本語日") == "日本語日本…"


def test_a_character_that_only_the_normal_font_has_can_be_drawn_in_bold() -> None:
    assert label("\U0001d7e6") == "U+1D7E6"
    drawn(figures.ClassBars(("\U0001d7e6", "b"), (0.9, 0.1)).figure())


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_of_a_figure_is_read_as_mathematics(name: str) -> None:
    figure = drawn(PICTURES[name]().figure(LIGHT, 350))
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert texts
    assert not [text.get_text() for text in texts if text.get_parse_math()]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (0.00005, "< 0.01 %"),
        (0.0042, "0.42 %"),
        (0.0099, "0.99 %"),
        (0.00999, "1.0 %"),
        (0.183, "18.3 %"),
        (0.9992, "> 99.9 %"),
        (1, "100 %"),
    ],
)
def test_percent_has_the_digits_that_matter(share: float, words: str) -> None:
    assert figures.percent(share) == words


# Layout


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PICTURES)
def test_every_text_lies_inside_the_figure(name: str, width: int) -> None:
    all_inside(drawn(PICTURES[name]().figure(DARK, width)))


@pytest.mark.parametrize("width", [300, 350, 1040])
@pytest.mark.parametrize("tokens", [1, 2, 7, 16, 33, 64])
def test_tick_labels_never_overlap(tokens: int, width: int) -> None:
    names = pieces(tokens)
    weights = attention(tokens)[0]
    figure = figures.HeadMap(weights, names, layer=0, head=0).figure(width=width)
    all_inside(drawn(figure))
    none_overlap(figure)
    figure = figures.TopicLines(topics(tokens), names, LABELS).figure(width=width)
    all_inside(drawn(figure))
    none_overlap(figure)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("highest", [1e-6, 0.013, 0.2, 0.999])
def test_the_words_of_bars_never_overlap(highest: float, width: int) -> None:
    probs = highest * np.array([1, 0.001])
    after = [1, 0] if highest > 0.1 else [highest, 0]
    figure = drawn(figures.TokenBars(("a", "b" * 12), probs, after, 0).figure(width=width))
    all_inside(figure)
    none_overlap(figure)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PICTURES)
def test_no_text_of_a_figure_lies_on_another(name: str, width: int) -> None:
    none_overlap(drawn(PICTURES[name]().figure(width=width)))


def test_few_tokens_are_all_labelled_and_many_are_thinned() -> None:
    names = [f"t{index}" for index in range(64)]
    few = figures.HeadMap(attention(12)[0], names[:12], layer=0, head=0).figure(width=350)
    assert set(names[:12]) <= set(said(few))
    many = figures.HeadMap(attention(64)[0], names, layer=0, head=0).figure(width=350)
    shown = set(names) & set(said(many))
    assert 10 <= len(shown) < 40


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_twice_the_pixels_of_its_width(name: str) -> None:
    figure = PICTURES[name]().figure(LIGHT, 350)
    picture = figures.render(figure)
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (700, 4)
    assert (picture[0, -1, 3], picture[-1, 0, 3]) == (0, 0)  # transparent
    read = imread(io.BytesIO(figures.to_png(figure)))
    np.testing.assert_array_equal((255 * read).round().astype(np.uint8), picture)
    opaque = imread(io.BytesIO(figures.to_png(figure, background="#ff0000")))
    assert opaque[0, -1].tolist() == [1, 0, 0, 1]


# Probability bars


def widths(figure: Figure, **wanted: object) -> list[float]:
    """How wide the bars are whose colour, hatch or edge is the wanted one, in CSS pixels."""
    found = []
    for bars in figure.axes[0].collections:
        fill, edge = bars.get_facecolor(), bars.get_edgecolor()
        looks = {
            "fill": to_hex(fill[0]) if len(fill) else None,
            "edge": to_hex(edge[0]) if len(edge) else None,
            "hatch": bool(bars.get_hatch()),
        }
        if wanted.items() <= looks.items():
            found += [np.ptp(path.vertices[:, 0]) for path in bars.get_paths()]
    return found


def test_cut_tokens_say_so_and_are_hatched() -> None:
    figure = drawn(ten().figure())
    words = [text for text in said(figure) if " %" in text]
    assert [("cut" in text) for text in words] == [False] * 7 + [True] * 3
    assert len(widths(figure, hatch=True)) == 3


def test_the_token_in_the_text_is_marked_in_words_and_in_colour() -> None:
    figure = ten().figure()
    words = [text for text in said(figure) if "in the text" in text]
    assert words == ["15.0 → 16.4 % · in the text"]
    assert len(widths(figure, fill=LIGHT.accent)) == 1


def test_an_outline_shows_the_probability_after_the_settings() -> None:
    figure = ten().figure()
    outlines, bars = widths(figure, edge=LIGHT.text), widths(figure, fill=LIGHT.bar)
    assert np.divide(outlines, outlines[0]) == pytest.approx(np.linspace(0.19, 0.01, 10)[:7] / 0.19)
    assert outlines[0] / bars[0] == pytest.approx(1.09)


def test_no_outline_when_the_settings_change_nothing() -> None:
    figure = figures.TokenBars(("a", "b"), (0.6, 0.4), (0.6, 0.4), None).figure()
    assert len(widths(figure, fill=LIGHT.bar)) == 2
    assert not widths(figure, edge=LIGHT.text)
    assert not [text for text in said(figure) if "utline" in text]


def test_a_drawn_token_beyond_the_ten_has_its_rank_in_words() -> None:
    data = (["a", "b", "·banana"], [0.5, 0.3, 0.0002], [0.5, 0.3, 0.0002], 2)
    picture = figures.TokenBars(*data, ranks=(1, 2, 1370))
    assert {"0.02 % · in the text", "·banana\nrank 1,370"} <= set(said(picture.figure()))
    assert "rank 1,370" in picture.alt()
    assert picture.columns()["rank"] == (1, 2, 1370)


def test_probability_alt_says_the_best_the_drawn_and_the_cut() -> None:
    words = figures.TokenBars(tuple("$bcd"), (0.4, 0.3, 0.2, 0.1), (0, 1, 0, 0), 1).alt()
    assert words == (
        "Most likely next tokens: “$” 40.0 %, “b” 30.0 %, “c” 20.0 %. "
        "In the text: “b”, rank 2, 30.0 %, 100 % after the settings. "
        "The settings cut 3 of the 4 shown."
    )


@pytest.mark.parametrize("chosen", [-1, 2])
def test_an_unknown_row_cannot_be_drawn(chosen: int) -> None:
    with pytest.raises(ValueError, match="chosen row"):
        figures.TokenBars(("a", "b"), (0.5, 0.5), (0.5, 0.5), chosen)


def test_probabilities_above_one_in_sum_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sum to 1.2"):
        figures.TokenBars(("a", "b"), (0.6, 0.6), (0.5, 0.5), None)


# Attention


def test_the_future_is_blank_and_a_past_of_zero_is_not() -> None:
    weights = np.zeros((4, 4))
    weights[:, 0] = 1
    figure = figures.HeadMap(weights, list("abcd"), layer=0, head=0).figure(width=350)
    painted = cells(figure, 4)
    for query, key in itertools.product(range(4), range(4)):
        assert painted[query, key, 3] == (255 if key <= query else 0)


def test_rows_are_the_tokens_that_look() -> None:
    weights = np.array([[1, 0], [1, 0]])
    figure = figures.HeadMap(weights, ("a", "b"), layer=0, head=0).figure(width=350)
    yellow = cells(figure, 2)[1, 0]
    assert yellow[0] > 200
    assert yellow[2] < 80
    places = {text.get_text(): text.get_position() for text in figure.findobj(Text)}
    query, key = places["token that looks (query)"], places["token looked at (key)"]
    assert query[0] < key[0]
    assert query[1] < key[1]


def cells(figure: Figure, count: int) -> np.ndarray:
    """What a map's picture holds in the middle of each of its cells, [T, T, 4]."""
    figures.render(figure)
    painted = max((pixels.image for pixels in figure.findobj(Pixels)), key=len)[::-1]
    rows, columns = ((np.arange(count) + 0.5) * n / count for n in painted.shape[:2])
    return painted[np.ix_(rows.astype(int), columns.astype(int))]


def test_a_map_of_any_range_has_its_greatest_value_brightest() -> None:
    values = np.tri(7) * np.linspace(0.5, 7.3, 7)
    more = {"title": "Weighted by values", "unit": "length", "high": 7.3}
    figure = figures.AttentionMap(values, list("abcdefg"), **more).figure()
    assert cells(figure, 7)[6, 6].tolist() == [253, 231, 36, 255]
    assert {"Weighted by values", "length", "0", "0.36", "7.3"} <= set(said(figure))
    words = figures.AttentionMap(values, list("abcdefg"), "Rollout", high=7.3).alt()
    assert words == ("Rollout, over 7 tokens. Strongest: “g” (token 6) looking at itself, 7.3.")
    with pytest.raises(ValueError, match=r"weights\[6, 6\] is 7.3"):
        figures.AttentionMap(values, list("abcdefg"), "", high=7)


def test_the_strongest_pair_is_said_and_the_first_row_does_not_count() -> None:
    weights = np.tri(5) / np.arange(1, 6)[:, None]
    weights[3] = (0.1, 0.7, 0.1, 0.1, 0)
    assert figures.AttentionMap(weights, list("abcde"), "").strongest(1) == [(3, 1, 0.7)]
    words = figures.HeadMap(weights, list("abcde"), layer=2, head=4).alt()
    assert words.startswith("Attention of layer 2, head 4, over 5 tokens.")
    assert "“d” (token 3) gives 70.0 % of its attention to “b” (token 1)" in words


def test_one_token_has_nothing_to_look_back_at() -> None:
    assert figures.AttentionMap([[1]], ["a"], "Rollout").alt() == "Rollout, over 1 token."
    assert "nothing to look back at" in figures.HeadMap([[1]], ["a"], layer=0, head=0).alt()


def test_head_minus_one_is_called_the_mean() -> None:
    figure = figures.HeadMap(attention(3)[0], list("abc"), layer=5, head=-1).figure()
    assert "Layer 5, mean over heads: where each token looks" in said(figure)


def test_more_tokens_than_the_limit_are_refused() -> None:
    with pytest.raises(ValueError, match="65 tokens are too many to draw, the limit is 64"):
        figures.HeadMap(np.eye(65), pieces(65), layer=0, head=0)


# Topics


@pytest.mark.parametrize("best", range(4))
def test_classes_keep_their_order_and_colours(best: int) -> None:
    probs = np.where(np.arange(4) == best, 0.7, 0.1)
    figure = figures.ClassBars(LABELS, probs).figure()
    lengths = [widths(figure, fill=color) for color in CLASS_COLORS]
    assert [length for (length,) in lengths] == pytest.approx(lengths[best][0] * probs / 0.7)
    names = [text for text in texts(figure) if text.get_text() in LABELS]
    assert [text.get_text() for text in names] == list(LABELS)
    assert [text.get_fontweight() == "bold" for text in names] == [i == best for i in range(4)]
    lines = figures.TopicLines([probs], ["a"], LABELS).figure().axes[0].lines
    assert tuple(to_hex(line.get_color()) for line in lines) == CLASS_COLORS


def test_class_alt_begins_with_the_winner() -> None:
    words = figures.ClassBars(LABELS, (0.06, 0.012, 0.018, 0.91)).alt()
    assert words.endswith("first: Sci/Tech 91.0 %, World 6.0 %, Business 1.8 %, Sports 1.2 %.")


def test_the_decision_is_where_the_winner_begins_to_lead_for_good() -> None:
    per_token = np.array([(0.9, 0.1), (0.2, 0.8), (0.6, 0.4), (0.3, 0.7), (0.1, 0.9)])
    picture = figures.TopicLines(per_token, "abcde", ("no", "yes"))
    assert picture.decided_at == 3
    assert figures.TopicLines(per_token[3:], "de", ("no", "yes")).decided_at == 0
    words = "ends with yes at 90.0 %, which leads for good from token 3, “d”, on."
    assert words in picture.alt()
    assert "yes leads from “d” on" in said(picture.figure())


@pytest.mark.parametrize("last", [(0.25,) * 4, (1, 0, 0, 0), (0.5, 0.5, 0, 0)])
def test_names_at_the_line_ends_never_overlap(last: tuple[float, ...]) -> None:
    figure = drawn(figures.TopicLines([last, last], ("a", "b"), LABELS).figure(width=350))
    names = [t for t in figure.findobj(Text) if t.get_text().split(" ")[0] in LABELS]
    boxes = extents(text for text in names if "%" in text.get_text())
    assert len(boxes) == 4
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


# Colours


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_is_readable_on_every_tint_and_on_the_page(theme: Theme) -> None:
    tints = figures.level_colors(theme=theme)
    assert min(contrast(tint, theme.text) for tint in tints) >= 4.5
    for color in (theme.text, theme.muted, theme.accent):
        assert contrast(color, theme.background) >= 4.5
    for color in (theme.bar, *CLASS_COLORS):
        assert contrast(color, theme.background) >= 3


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_tint_deepens_with_surprise(theme: Theme) -> None:
    for by, values in (
        ("probability", (1, 0.5, 0.1, 0.01, 0.001)),
        ("rank", (1, 3, 10, 100, 1000)),
        ("entropy", (0, 1, 3, 6, 8)),
    ):
        colors = figures.level_colors(theme=theme)
        tints = [colors[figures.token_level(value, by)] for value in values]
        steps = [contrast(tint, theme.background) for tint in tints]
        assert steps == sorted(steps)
        assert len(set(tints)) == 5
        assert (tints[0], tints[-1]) == (theme.tint[0], theme.tint[-1])


def test_values_beyond_a_scale_take_its_last_colour() -> None:
    beyond = ((0, "probability"), (1e-7, "probability"), (50257, "rank"), (11, "entropy"))
    assert {figures.token_level(value, by) for value, by in beyond} == {figures.LEVELS - 1}


@pytest.mark.parametrize("by", ["probability", "rank", "entropy"])
def test_the_legend_shows_the_colours_of_its_values(by: str) -> None:
    legend = figures.level_legend(by)
    assert [legend[0][1], legend[-1][1]] == [0, figures.LEVELS - 1]
    assert len({level for _, level in legend}) == len(legend) >= 4
    for theme in (LIGHT, DARK):
        colors = figures.level_colors(theme=theme)
        assert [colors[0], colors[-1]] == [theme.tint[0], theme.tint[-1]]


def test_an_unknown_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="probability, rank, entropy"):
        figures.token_level(0.5, "surprise")
    with pytest.raises(ValueError, match="probability, rank, entropy"):
        figures.level_legend("surprise")


# Machado, Oliveira and Fernandes 2009, severity 1: protan, deutan, tritan.
BLINDNESS = np.array(
    [
        [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
        [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
        [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
    ]
)
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@pytest.mark.parametrize("sight", [np.eye(3), *BLINDNESS])
def test_class_colours_differ_for_every_sight(sight: np.ndarray) -> None:
    def lab(color: str) -> np.ndarray:
        xyz = XYZ @ (sight @ linear(color)).clip(0, 1) / (0.95047, 1, 1.08883)
        x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        return np.array((116 * y - 16, 500 * (x - y), 200 * (y - z)))

    pairs = itertools.combinations([lab(color) for color in CLASS_COLORS], 2)
    assert min(float(np.linalg.norm(one - other)) for one, other in pairs) >= 20


# Refusals

NAN = float("nan")
REFUSALS = {
    "probability": lambda bad: figures.TokenBars("ab", (0.5, bad), (0.5, 0.5), 0),
    "sampled": lambda bad: figures.TokenBars("ab", (0.5, 0.5), (0.5, bad), 0),
    "head": lambda bad: figures.HeadMap([[1, 0], [bad, 1]], "ab", layer=0, head=0),
    "class": lambda bad: figures.ClassBars("ab", (0.5, bad)),
    "topic": lambda bad: figures.TopicLines([(0.5, bad)], "a", "xy"),
}


@pytest.mark.parametrize("bad", [NAN, math.inf, -1.5, None])
@pytest.mark.parametrize("name", REFUSALS)
def test_a_value_that_is_no_share_is_refused_by_name(name: str, bad: float | None) -> None:
    with pytest.raises(ValueError, match=r"\[.*1.*\] is (nan|inf|-1.5); every value must be"):
        REFUSALS[name](bad)


@pytest.mark.parametrize(
    "make",
    [
        lambda: figures.TokenBars([], [], [], None),
        lambda: figures.TokenBars("ab", [0.5, 0.5], [0.5], None),
        lambda: figures.TokenBars("ab", [0.5, 0.5], [0.5, 0.5], 0, ranks=[1]),
        lambda: figures.HeadMap(np.eye(3), "ab", layer=0, head=0),
        lambda: figures.HeadMap(np.eye(2), "ab", layer=0, head=0, words="abc"),
        lambda: figures.HeadMap(np.zeros((0, 0)), "", layer=0, head=0),
        lambda: figures.ClassBars("abc", [0.5, 0.5]),
        lambda: figures.TopicLines(np.zeros((0, 4)), [], LABELS),
        lambda: figures.ClassBars("ab", [0.5, 0.5]).figure(width=100),
    ],
)
def test_wrong_shapes_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


# Numbers


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_has_its_numbers_as_columns_of_one_length(name: str) -> None:
    lines = figures.to_csv(PICTURES[name]().columns()).splitlines()
    assert len(lines) > 4
    assert "," in lines[0]


def test_a_map_gives_every_pair_with_the_tokens_own_words() -> None:
    picture = figures.AttentionMap(np.tri(2) / 2, ("⏎", "b"), "", words=("\n", "b"), first=7)
    assert picture.columns() == {
        "query": [7, 8, 8],
        "query token": ["\n", "b", "b"],
        "key": [7, 7, 8],
        "key token": ["\n", "\n", "b"],
        "value": [0.5, 0.5, 0.5],
    }


# Threads, imports, speed


@pytest.mark.slow
def test_eight_threads_draw_at_once_as_one_would() -> None:
    def draw(number: int) -> tuple[list[str], np.ndarray]:
        seed = number % 5
        if seed < 4:
            weights = attention(3, seed=seed)[0]
            picture = figures.HeadMap(weights, "abc", layer=seed, head=0)
        else:
            picture = figures.ClassBars(HARD[seed : seed + 4], topics(1)[0])
        figure = picture.figure(width=300)
        return said(figure), figures.render(figure)

    alone = [draw(number) for number in range(5)]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(draw, range(40)))
    for number, (words, picture) in enumerate(at_once):
        assert words == alone[number % 5][0]
        np.testing.assert_array_equal(picture, alone[number % 5][1])
    assert "Layer 2, head 0: where each token looks" in alone[2][0]
    assert not Gcf.figs


@pytest.mark.slow
def test_figures_need_neither_torch_nor_pyplot() -> None:
    code = "import sys, gpt2.figures; print([m for m in sys.modules if m in %r])"
    unwanted = ("torch", "matplotlib.pyplot", "gradio", "tiktoken")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code % (unwanted,)], cwd=root, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


# Training


@pytest.mark.parametrize("count", [1, 7, 500])
def test_training_curves_draw_for_any_number_of_points(count: int) -> None:
    figure = drawn(figures.TrainingCurves(*curves(count, min(count, 3))).figure())
    assert {"loss (nats)", "accuracy (%)", "texts read"} <= set(said(figure))
    all_inside(figure)
    none_overlap(figure)


def test_held_out_accuracy_is_drawn_where_it_was_measured() -> None:
    picture = figures.TrainingCurves(*curves(60))
    lines = picture.figure().axes[0].lines
    (marks,) = (line for line in lines if len(line.get_xdata()) == 3 and line.get_ydata().std())
    x, y = (
        np.asarray(lines[0].get_xdata()),
        {t.get_text(): t.get_position()[1] for t in texts(picture.figure())},
    )
    across = np.interp(picture.held_out_texts, picture.texts, x)
    np.testing.assert_allclose(marks.get_xdata(), across)
    down = y["25"] + (y["75"] - y["25"]) * (picture.held_out - 0.25) / 0.5
    np.testing.assert_allclose(marks.get_ydata(), down)


def test_training_alt_says_where_it_began_and_ended() -> None:
    alt = figures.TrainingCurves(*curves(60)).alt()
    assert "1,920 texts" in alt
    assert "90.0 %" in alt
    assert "from 1.3" in alt


def test_every_cell_of_a_confusion_matrix_is_written() -> None:
    figure = drawn(figures.ConfusionTable(COUNTS, LABELS).figure())
    words = said(figure)
    for count in COUNTS.ravel():
        assert any(word.split("\n")[0] == f"{count}" for word in words)
    assert "0" in words  # and not < 1 %
    assert "90.5 % of 3,800 rows right" in words


def test_confusion_alt_names_the_most_frequent_mistake() -> None:
    alt = figures.ConfusionTable(COUNTS, LABELS).alt()
    assert "3,800 rows" in alt
    assert "Sci/Tech taken for Business, 90 rows" in alt
    assert "wrong" not in figures.ConfusionTable(np.eye(4), LABELS).alt()


def test_figures_of_training_refuse_what_can_not_be() -> None:
    with pytest.raises(ValueError, match="counts has shape"):
        figures.ConfusionTable(COUNTS[:3], LABELS)
    read = list(curves(9))
    read[1] = read[1] * math.nan
    with pytest.raises(ValueError, match="loss"):
        figures.TrainingCurves(*read)


def test_held_out_accuracy_has_rows_of_its_own_in_the_table() -> None:
    columns = figures.TrainingCurves(*curves(9)).columns()
    assert columns["texts"][-4:] == [288, 96, 192, 288]
    assert columns["accuracy"][-3:] == [None] * 3
    assert columns["held-out accuracy"][-4:] == pytest.approx([None, 0.8, 0.85, 0.9])
