"""Why, Score and the Classify tab without a browser: what is drawn, refused and escaped."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from tags import Tags

from gpt2.figures import (
    AttributionBars,
    ClassBars,
    FaithfulnessCurves,
    ScoreBands,
    TopicLines,
    class_color,
)
from gpt2.records import METHODS, Score
from gpt2.ui.classify.examples import EXAMPLES, examples_html
from gpt2.ui.classify.many import MOST_TEXTS, many_drawings
from gpt2.ui.classify.reading import Reading, verdict_of
from gpt2.ui.classify.tab import (
    decided_drawings,
    place_html,
    topic_drawings,
    wanted_text,
)
from gpt2.ui.controls import paste
from gpt2.ui.inside.score import score_drawings, score_words, strip_html
from gpt2.ui.inside.why import ALL, why_drawings
from gpt2.ui.page import Page
from gpt2.ui.picture import Drawing
from gpt2.ui.record import read_asked
from gpt2.ui.style import style

HOSTILE = "<img src=x onerror=f()> \"'><script>f()</script> &lt;b&gt; ${f()} `f()`\n{{f()}}"
NEWS = "Oil prices rose again on Monday."


def raw_text(engine, tab, words):
    """What the page sends of a text that stands on it."""
    names = engine.catalog.classifiers if tab == "classify" else engine.catalog.models
    ids = engine.catalog.encode(words, model=names[0])
    length = len(ids) if tab == "classify" else 2
    return {"model": names[0], "prompt": words, "ids": ids, "prompt_length": length}


def asked_about(engine, tab, words=NEWS, **look):
    raw = {"key": "k", "text": raw_text(engine, tab, words), "look": {"width": 700, **look}}
    return read_asked(raw, engine, tab=tab)


def drawn_why(engine, tab, **look):
    return list(why_drawings(engine, tab, asked_about(engine, tab, **look)))


@pytest.fixture
def reading(engine):
    return Reading(Page(engine, record=None, ahead=None, file=None))


def lines_of(reading, news, moment=1):
    (value,) = reading.read(news, "", {"moment": moment}).values()
    return [json.loads(line) for line in value.splitlines()]


# --- whose text it is ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tab", "other", "kind"),
    [("generate", "classify", "language model"), ("classify", "generate", "classifier")],
)
def test_a_view_refuses_a_text_of_the_other_kind_of_model(engine, tab, other, kind):
    raw = {"text": raw_text(engine, other, NEWS), "look": {}}
    with pytest.raises(ValueError, match=f"which is no {kind}; there are: .*; {tab} it again"):
        read_asked(raw, engine, tab=tab)
    with pytest.raises(ValueError, match="not here any more"):
        read_asked({"text": raw["text"] | {"model": "gone"}}, engine, tab=tab)


def test_a_news_text_is_looked_at_where_it_ends(engine):
    asked = asked_about(engine, "classify")
    assert asked.selected == len(asked.ids) - 1
    assert asked_about(engine, "classify", token=0).selected == 0


# --- reading a news text ---------------------------------------------------------------------


def test_a_news_text_comes_with_what_leads_after_each_token(engine, reading):
    (text, first), (read, leaders), (end, last) = lines_of(reading, NEWS, moment=7)
    assert (text, read, end) == ("text", "read", "end")
    found = engine.inspector.classify(NEWS)
    assert first["ids"] == list(found.ids)
    assert first["prompt_length"] == len(found.ids)
    assert "".join(first["texts"]) == first["prompt"] == NEWS
    assert first["settings"] == {}
    assert (first["labels"], first["moment"]) == (list(found.labels), 7)
    assert [leader for leader, _ in leaders] == found.per_token.argmax(1).tolist()
    assert all(share.endswith("%") for _, share in leaders)
    assert last["selected"] == len(found.ids) - 1
    assert last["status"].startswith(found.label)


def test_what_the_page_sends_of_a_read_text_is_taken(engine, reading):
    (_, first), *_ = lines_of(reading, f"  {NEWS}\n")
    asked = read_asked({"text": first, "look": {}}, engine, tab="classify")
    assert verdict_of(engine, asked).ids == asked.ids


def test_a_text_of_which_the_end_was_not_read_says_so(reading):
    _, _, (_, last) = lines_of(reading, "word " * 100)
    assert re.search(r"the first 64 of 10\d tokens were read", last["status"])


@pytest.mark.parametrize(
    ("news", "why"),
    [("", "empty"), (None, "empty"), (" \n", "empty"), (["a"], "no text"), ("x" * 20001, "20,000")],
)
def test_a_news_text_that_cannot_be_read_is_refused_in_a_sentence(reading, news, why):
    assert [(kind, moment) for kind, _, moment in lines_of(reading, news)] == [("refused", 1)]
    assert why in lines_of(reading, news)[0][1]


def test_an_unknown_classifier_is_refused_in_a_sentence(engine, reading):
    for name in ("nobody", engine.catalog.models[0], 5):
        (value,) = reading.read(NEWS, name, {}).values()
        assert json.loads(value)[0] == "refused"


def test_what_the_page_asks_for_by_itself_is_read(reading):
    assert wanted_text({"wanted": {"prompt": NEWS, "model": "m"}}) == (NEWS, "m")
    for raw in (None, [], {}, {"wanted": 3}, {"wanted": {}}):
        assert wanted_text(raw) == (None, None)


def test_the_examples_are_texts_one_click_away(engine):
    html = examples_html()
    assert Tags(html).tags == {"div", "span", "button"}
    for text in EXAMPLES.values():
        assert engine.inspector.classify(text).ids


# --- Classify: verdict and when ---------------------------------------------------------------


def test_the_verdict_is_drawn_and_said(engine):
    asked = asked_about(engine, "classify")
    drawn = topic_drawings(engine, asked)
    found = verdict_of(engine, asked)
    assert isinstance(drawn["topics"].picture, ClassBars)
    assert found.label in drawn["verdict"]
    assert f"class-{found.labels.index(found.label)}" in drawn["verdict"]


def test_when_it_decided_tells_of_the_selected_token(engine):
    drawn = decided_drawings(engine, asked_about(engine, "classify", token=1))
    assert isinstance(drawn["decided-lines"].picture, TopicLines)
    assert "After token 1" in drawn["decided-place"]
    assert drawn["decided-place"].count('class="key') == 4
    kept = replace(asked_about(engine, "classify", token=2), kept=frozenset({"decided-lines"}))
    assert list(decided_drawings(engine, kept)) == ["decided-place"]


def test_a_text_whose_tokens_are_not_its_own_is_refused(engine):
    asked = asked_about(engine, "classify")
    other = replace(asked, text=replace(asked.text, ids=asked.ids[:-1]))
    for draw in (topic_drawings, decided_drawings):
        with pytest.raises(ValueError, match="classify it again"):
            draw(engine, other)


def test_class_colours_are_those_of_the_pictures(engine):
    for index in range(4):
        assert f"--class-{index}: {class_color(index)};" in style()


def test_hostile_labels_and_pieces_are_shown_as_text():
    seen = Tags(place_html(3, HOSTILE, [HOSTILE] * 4, np.full(4, 0.25)))
    assert seen.tags == {"p", "b", "code", "span"}
    assert seen.text.count(HOSTILE) == 5


# --- many texts ------------------------------------------------------------------------------


def test_each_line_of_a_list_gets_its_topic(engine):
    pasted = f"{NEWS}\n\n  {HOSTILE}  \n"
    *_, last = many_drawings(engine, asked_about(engine, "classify", many=pasted))
    seen = Tags(last["many-texts"])
    assert seen.tags == {"div", "table", "tr", "th", "td", "span", "i", "button"}
    assert not {name for name in seen.attributes if name.startswith("on") or name == "src"}
    assert last["many-texts"].count("data-prompt") == 3  # a line end parts the hostile one
    label = engine.inspector.classify(NEWS).label
    assert f"{label} " in seen.text
    assert last["many-words"].startswith('<p class="note">3 texts')


@pytest.mark.parametrize("many", ["", " \n", None, 7])
def test_without_a_list_the_examples_are_read(engine, many):
    *_, last = many_drawings(engine, asked_about(engine, "classify", many=many))
    assert last["many-texts"].count("data-prompt") == len(EXAMPLES)


@pytest.mark.parametrize(
    ("many", "why"),
    [("a\n" * (MOST_TEXTS + 1), f"limit is {MOST_TEXTS}"), ("x" * 20001, "limit is 20,000")],
)
def test_a_list_too_long_is_refused_with_the_limit(engine, many, why):
    with pytest.raises(ValueError, match=why):
        list(many_drawings(engine, asked_about(engine, "classify", many=many)))


# --- why -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", ["generate", "classify"])
@pytest.mark.parametrize("method", [*METHODS, ALL])
def test_reasons_come_by_each_method(engine, tab, method):
    last = drawn_why(engine, tab, token=4, method=method)[-1]
    picture = last[f"{tab}-why-picture"].picture
    assert isinstance(picture, AttributionBars)
    assert list(picture.names) == (list(METHODS) if method == ALL else [method])
    assert len(picture.pieces) == (5 if tab == "classify" else 4)
    assert np.isfinite(picture.values).all()


def test_reasons_for_a_topic_are_those_for_the_one_that_leads_there(engine):
    picture = drawn_why(engine, "classify", token=1)[-1]["classify-why-picture"].picture
    found = verdict_of(engine, asked_about(engine, "classify"))
    assert picture.target == found.labels[int(found.per_token[1].argmax())]


def test_a_rival_is_told_of(engine):
    last = drawn_why(engine, "generate", token=4, rival=" fell")[-1]
    assert "rather than" in last["generate-why-picture"].picture.target
    assert "Lead over" in last["generate-why-words"]


@pytest.mark.parametrize("tab", ["generate", "classify"])
def test_whether_it_is_true_is_drawn_in_two_steps(engine, tab):
    quick, whole = drawn_why(engine, tab, token=4, check="true")
    pictures = [step[f"{tab}-why-picture"].picture for step in (quick, whole)]
    assert all(isinstance(picture, FaithfulnessCurves) for picture in pictures)
    assert len(pictures[0].names) < len(pictures[1].names)
    assert "follow" in quick[f"{tab}-why-words"]
    assert "follow" not in whole[f"{tab}-why-words"]
    table = whole[f"{tab}-why-table"]
    assert all(f"<dt>{name}</dt>" in table for name in pictures[1].names)


@pytest.mark.parametrize("look", [{"check": "no"}, {"method": 3}, {"method": None, "rival": []}])
def test_controls_that_hold_nonsense_are_as_they_began(engine, look):
    last = drawn_why(engine, "generate", token=3, **look)[-1]
    assert list(last["generate-why-picture"].picture.names) == [METHODS[0]]


def test_nothing_speaks_for_the_first_token(engine):
    with pytest.raises(ValueError, match="select a later one"):
        drawn_why(engine, "generate", token=0)


def test_hostile_rivals_are_shown_as_text(engine):
    for rival in ("<script>", "<img src=x onerror=f()>"):
        slots = drawn_why(engine, "generate", token=3, rival=rival)[-1]
        html = "".join(
            slot.html() if isinstance(slot, Drawing) else slot for slot in slots.values()
        )
        assert not {"script", "img"} & Tags(html).tags


# --- score -----------------------------------------------------------------------------------


def test_the_text_on_the_page_is_scored_as_it_stands(engine):
    asked = asked_about(engine, "generate")
    drawn = score_drawings(engine, asked)
    assert isinstance(drawn["score-picture"].picture, ScoreBands)
    assert tuple(drawn["score-picture"].picture.ids) == asked.ids[1:]
    assert drawn["score-text"] == ""
    assert "The text on the page" in drawn["score-words"]


def test_a_pasted_text_is_scored_in_place_of_it_and_shown_as_text(engine):
    drawn = score_drawings(engine, asked_about(engine, "generate", scored=HOSTILE))
    seen = Tags(drawn["score-text"])
    assert seen.tags == {"div", "span", "p"}
    assert not {name for name in seen.attributes if name.startswith("on") or name == "src"}
    assert HOSTILE in seen.text
    assert 'translate="no"' in drawn["score-text"]
    assert re.search(r'class="tint-\d+"', drawn["score-text"])
    assert "perplexity" in drawn["score-words"]


@pytest.mark.parametrize("scored", ["", None, 5, ["x"], {}])
def test_what_is_no_pasted_text_leaves_that_of_the_page(engine, scored):
    drawn = score_drawings(engine, asked_about(engine, "generate", scored=scored))
    assert "The text on the page" in drawn["score-words"]


def test_a_pasted_text_too_long_is_refused_with_the_limit(engine):
    limit = engine.limits.prompt_chars
    with pytest.raises(ValueError, match=f"20,001 characters; the limit is {limit:,}; shorten it"):
        score_drawings(engine, asked_about(engine, "generate", scored="x" * (limit + 1)))
    assert f'data-limit="{limit}"' in paste("scored", "Text", "Score", limit=limit)


def test_a_text_of_one_token_has_nothing_to_score(engine):
    asked = asked_about(engine, "generate")
    one = replace(asked, text=replace(asked.text, ids=asked.ids[:1], prompt_length=1))
    with pytest.raises(ValueError, match="one token"):
        score_drawings(engine, one)


def test_a_scored_texts_numbers_in_words(engine):
    ids = tuple(engine.catalog.encode("a b", model=engine.catalog.models[0]))
    two = np.array([-1.0, -2000.0]), np.array([1, 50000]), np.array([0.5, 3.0])
    found = Score(engine.catalog.models[0], ids, *two, truncated=3)
    assert "its first 2 tokens of 5, the rest was not read" in score_words(found)
    assert "past 10^307" in score_words(found)
    assert "50.0 %" in score_words(found)
    assert "rank 50,000" in strip_html(engine, found)
