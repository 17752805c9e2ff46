"""The views of attention, of layers and of what is switched off, without a browser."""

import json
import re
import time
from dataclasses import replace
from html import escape
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from streams import collected

from gpt2.engine import Engine, Limits, Request, Sampling, Scales
from gpt2.figures import AblationGrid, AttentionMap, BeforeAfter, HeadMap, HeadTiles
from gpt2.ui.controls import choice, stepper, text
from gpt2.ui.generate.writing import Writing
from gpt2.ui.inside.attention import attention_drawings, build_attention
from gpt2.ui.inside.logit_lens import lens_drawings
from gpt2.ui.inside.switch import build_switch, read_parts, switch_drawings, write_again
from gpt2.ui.page import Page
from gpt2.ui.picture import Drawing
from gpt2.ui.record import Asked, Text

IDS = tuple(range(100, 140))
HEAD_OFF = ["head", 1, 0, 0]


def asked(engine, *, ids=IDS, selected=6, model="", width=738, kept=(), chosen=(), **look):
    """As read_asked would give it."""
    model = model or engine.catalog.models[0]
    request = Request("Hello there", 8, Sampling(seed=3), model=model)
    written = Text(request, ids, 4, chosen)
    return Asked("key", written, selected, look, width, frozenset(kept))


def last(drawings):
    *_, drawn = drawings
    return drawn


def shown(engine, **look):
    """The large map of attention."""
    return last(attention_drawings(engine, asked(engine, **look)))["map"].picture


@pytest.fixture
def narrow(engine):
    """An engine whose maps of attention hold 16 tokens."""
    return Engine(engine.library, Limits(attention_tokens=16))


@pytest.fixture
def page(fresh_engine):
    with gr.Blocks():
        yield Page(fresh_engine, gr.JSON(), gr.HTML(), gr.HTML())


# --- attention -------------------------------------------------------------------------------


def test_the_map_comes_before_the_heads_beside_it(engine):
    first, whole = attention_drawings(engine, asked(engine, layer=1, head=0))
    assert isinstance(first["map"].picture, HeadMap)
    assert "heads" not in first
    assert isinstance(whole["heads"].picture, HeadTiles)
    assert "Head 0 of layer 1 gives" in whole["does"]
    assert set(whole) == {"map", "heads", "does", "overview"}


def test_heads_that_the_page_has_are_not_drawn_again(engine):
    assert "heads" not in last(attention_drawings(engine, asked(engine, kept=["heads"])))


@pytest.mark.parametrize(
    ("look", "place"),
    [
        ({"layer": 1, "head": 1}, (1, 1)),
        ({"layer": 99, "head": 99}, (1, 1)),
        ({"layer": -5, "head": -5}, (0, -1)),
        ({"layer": "1", "head": None}, (0, -1)),
        ({"layer": True, "head": 0.5}, (0, -1)),
        ({}, (0, -1)),
    ],
)
def test_a_layer_or_head_that_is_none_is_moved_to_one(engine, look, place):
    picture = shown(engine, **look)
    assert (picture.layer, picture.head) == place


@pytest.mark.parametrize(
    ("kind", "title"),
    [("weighted", "Layer 1, head 0: length"), ("rollout", "Rollout"), ("no such", None), (7, None)],
)
def test_each_kind_has_its_map(engine, kind, title):
    picture = shown(engine, layer=1, head=0, kind=kind)
    assert isinstance(picture, HeadMap if title is None else AttentionMap)
    assert title is None or picture.title.startswith(title)


def test_the_mean_over_heads_is_told_apart(engine):
    drawn = last(attention_drawings(engine, asked(engine, layer=1, head=-1)))
    assert "mean over all heads of layer 1" in drawn["does"]
    heads = engine.inspector.attention(IDS, 1, model=engine.catalog.models[0])
    np.testing.assert_allclose(drawn["map"].picture.weights, heads.mean(0), atol=1e-6)


@pytest.mark.parametrize(("start", "first"), [(0, 0), (10, 10), (999, 24), (-3, 0), ("x", 0)])
def test_of_a_long_text_a_window_is_shown(narrow, start, first):
    drawn = last(attention_drawings(narrow, asked(narrow, layer=1, head=0, start=start)))
    assert drawn["map"].picture.first == first
    assert list(drawn["map"].places) == list(range(first, first + 16))
    assert "Click the whole text" in drawn["does"]
    overview = drawn["overview"]
    assert overview.picks == "window"
    assert overview.picture.window == (first, first + 16)
    assert len(overview.places) == len(overview.cells()["rows"])


def test_an_overview_says_what_its_colours_are(narrow):
    units = {
        kind: last(attention_drawings(narrow, asked(narrow, kind=kind)))["overview"].picture.unit
        for kind in ("attention", "weighted")
    }
    assert units["attention"].startswith("share of attention")
    assert units["weighted"] == "length of the weighted vector"


def test_a_text_that_fits_has_no_overview(engine):
    assert last(attention_drawings(engine, asked(engine)))["overview"] == ""


def test_attention_of_a_classifier(engine):
    found = asked(engine, model=engine.catalog.classifiers[0], layer=1, head=1)
    assert set(last(attention_drawings(engine, found))) == {"map", "heads", "does", "overview"}


def test_map_and_heads_fit_beside_each_other_or_take_the_width(engine):
    for width in (300, 326, 500, 660, 738, 1040):
        drawn = last(attention_drawings(engine, asked(engine, width=width)))
        widths = drawn["map"].width, drawn["heads"].width
        assert sum(widths) + 16 <= width or (widths[0] == width and widths[1] <= width)
        assert all(drawn[name].html() for name in ("map", "heads"))


def test_a_text_of_one_token_has_a_map(engine):
    assert shown(engine, ids=IDS[:1], selected=0).weights.shape == (1, 1)


# --- layers ----------------------------------------------------------------------------------


def test_the_lens_has_a_column_that_leads_to_the_selected_token(engine):
    for selected in (1, 6, len(IDS) - 1):
        drawn = lens_drawings(engine, asked(engine, selected=selected))
        lens = drawn["lens"]
        assert selected in lens.places
        assert len(lens.places) == len(lens.cells()["columns"])
        assert lens.picks == "token"
        read = lens.picture.words[list(lens.places).index(selected)]
        assert [read] == engine.catalog.words([IDS[selected - 1]], model=engine.catalog.models[0])


@pytest.mark.parametrize("width", [300, 326, 738, 1040])
def test_lens_and_rank_fit_the_width(engine, width):
    drawn = lens_drawings(engine, asked(engine, width=width))
    widths = [drawn[name].width for name in ("lens", "rank")]
    assert sum(widths) + 16 <= width or max(widths) <= width
    assert all(drawing.html() for drawing in drawn.values())


def test_nothing_leads_to_the_first_token(engine):
    with pytest.raises(ValueError, match="first token was predicted from nothing"):
        lens_drawings(engine, asked(engine, selected=0))


def test_the_last_token_of_a_full_context_has_a_lens(engine):
    ids = tuple(range(100, 165))  # one more than the model reads
    assert 64 in lens_drawings(engine, asked(engine, ids=ids, selected=64))["lens"].places


# --- switch off ------------------------------------------------------------------------------


def test_the_map_fills_and_bars_show_what_a_part_changes(engine):
    drawn = last(switch_drawings(engine, asked(engine, parts=[HEAD_OFF])))
    assert isinstance(drawn["off"].picture, AblationGrid)
    assert not np.isnan(drawn["off"].picture.heads).any()
    assert drawn["off"].picks == "part"
    assert isinstance(drawn["instead"].picture, BeforeAfter)
    assert "head 0 of layer 1 off" in drawn["parts"]


def test_without_parts_it_is_said_what_to_do(engine):
    drawn = last(switch_drawings(engine, asked(engine)))
    assert "Click a cell" in drawn["instead"]
    assert "every part works as trained" in drawn["parts"]


def test_bars_agree_with_the_map(engine):
    drawn = last(switch_drawings(engine, asked(engine, parts=[HEAD_OFF])))
    bars, grid = drawn["instead"].picture, drawn["off"].picture
    model = engine.catalog.models[0]
    (word,) = engine.catalog.words([IDS[6]], model=model)
    place = list(bars.words).index(word)
    change = np.log(bars.after[place] / bars.before[place])
    assert change == pytest.approx(grid.heads[1, 0], abs=1e-4)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ("all", "no list"),
        (["head"], "must be a kind"),
        ([["head", 1, 0]], "must be a kind"),
        ([["tail", 1, 0, 0]], "must be a kind"),
        ([[["head"], 1, 0, 0]], "must be a kind"),
        ([["head", 2, 0, 0]], "layer of a part"),
        ([["head", -1, 0, 0]], "layer of a part"),
        ([["head", 0, 2, 0]], "head of a part"),
        ([["mlp", 0, 1, 0]], "head of a part"),
        ([["head", 0.5, 0, 0]], "layer of a part"),
        ([["layer", 0, 0, 2.1]], "strength"),
        ([["layer", 0, 0, -0.1]], "strength"),
        ([["layer", 0, 0, None]], "strength"),
        ([["layer", 0, 0, float("nan")]], "strength"),
        ([["layer", True, 0, 0]], "layer of a part"),
    ],
)
def test_parts_that_are_none_are_refused_in_a_sentence(engine, parts, words):
    with pytest.raises(ValueError, match=words):
        last(switch_drawings(engine, asked(engine, parts=parts)))


def test_parts_are_named_and_those_as_trained_left_out(engine):
    parts = [["head", 0, 1, 0], ["mlp", 1, 0, 0.5], ["layer", 1, 0, 0], ["head", 1, 1, 1]]
    drawn = last(switch_drawings(engine, asked(engine, parts=parts)))
    said = "head 1 of layer 0 off, the MLP of layer 1 times 0.5, layer 1 off."
    assert said in drawn["parts"]
    assert read_parts(engine, asked(engine, parts=parts)) == {
        ("head", 0, 1): 0,
        ("mlp", 1, 0): 0.5,
        ("layer", 1, 0): 0,
    }


def test_the_first_token_is_refused_in_a_sentence(engine):
    with pytest.raises(ValueError, match="choose 1 to"):
        last(switch_drawings(engine, asked(engine, selected=0)))


def test_the_map_is_not_computed_again_when_only_parts_change(page, monkeypatch):
    maps = []
    made = page.engine.inspector.ablation_maps
    counted = lambda *args, **options: maps.append(1) or made(*args, **options)  # noqa: E731
    monkeypatch.setattr(page.engine.inspector, "ablation_maps", counted)
    view = build_switch(page, Writing(page))
    raw = {
        "key": "k",
        "text": {
            "model": page.engine.catalog.models[0],
            "prompt": "Hello",
            "ids": list(IDS),
            "prompt_length": 4,
            "settings": {"seed": 3},
        },
        "look": {"token": 6, "parts": [HEAD_OFF], "width": 738},
    }
    *_, first = map(json.loads, view.answers(raw))
    *_, second = map(json.loads, view.answers({**raw, "kept": ["off"]}))
    assert len(maps) == 1
    assert set(first["slots"]) == {"off", "parts", "instead"}
    assert set(second["slots"]) == {"parts", "instead"}
    assert second["slots"]["instead"] == first["slots"]["instead"]
    assert second["done"]


def written_again(engine, found, *, stopped=False):
    with gr.Blocks():
        writing = Writing(Page(engine, gr.JSON(), gr.HTML(), gr.HTML()))
    visitor = SimpleNamespace(session_hash="session")
    if stopped:
        writing.stop({"moment": 9}, visitor)
    return collected(write_again(engine, writing, found, {"moment": 5}, visitor))


def test_the_text_is_written_again_beside_what_it_was(engine):
    model, request = engine.catalog.models[0], Request("Hello there", 8, Sampling(seed=3))
    first = last(engine.generate(request))
    scales = Scales.of(engine.catalog.config(model), layers={1: 0.0})
    without = last(engine.generate(request, scales=scales)).completion
    found = asked(engine, ids=first.ids, parts=[["layer", 1, 0, 0]])
    found = replace(found, text=replace(found.text, prompt_length=len(first.prompt_ids)))
    seen = written_again(engine, found)[-1]
    assert without != first.completion
    assert [re.sub("<.*?>", "", part) for part in re.findall("<p>.*?</p>", seen, re.DOTALL)] == [
        escape(first.completion),
        escape(without),
    ]


def test_as_trained_there_is_nothing_to_write_again(engine):
    with pytest.raises(ValueError, match="switch one off first"):
        written_again(engine, asked(engine))


def test_stop_ends_what_is_written_again(engine, monkeypatch):
    kind, found = type(engine.library.get("tiny").decoder), asked(engine, parts=[HEAD_OFF])
    choose = kind.choose

    def slow(decoder, logits, draws):
        time.sleep(0.02)
        return choose(decoder, logits, draws)

    monkeypatch.setattr(kind, "choose", slow)
    whole, stopped = (written_again(engine, found, stopped=flag)[-1] for flag in (False, True))
    assert len(stopped) < len(whole)


# --- the views and their controls ------------------------------------------------------------


def test_answers_come_at_once_and_the_last_one_is_whole(page):
    view = build_attention(page, "classify")
    raw = {
        "key": "k",
        "text": {
            "model": page.engine.catalog.classifiers[0],
            "prompt": "News",
            "ids": list(IDS),
            "prompt_length": len(IDS),
        },
        "look": {"layer": 1, "head": 0, "width": 738},
    }
    answers = [json.loads(answer) for answer in view.answers(raw)]
    assert [answer["done"] for answer in answers] == [False, False, True]
    assert "heads" not in answers[0]["slots"]
    assert set(answers[-1]["slots"]) == {"map", "heads", "does", "overview"}
    assert answers[-1]["slots"]["heads"]["cells"]["picks"] == "head"


def test_controls_have_labels_and_escape_what_they_show():
    html = choice("generate", "kind", "<Show>", {'"a"': "<b>", "c": "d"})
    assert "&lt;Show&gt;" in html
    assert 'value="&quot;a&quot;" checked' in html
    assert html.count("checked") == 1
    html = stepper("layer", "Layer", 0, 7, 5)
    assert 'data-step="layer -1"' in html
    assert 'data-step="layer 1"' in html
    assert 'min="0" max="7" step="1" value="5"' in html
    assert 'data-step="strength -0.1"' in stepper("strength", "Strength", 0, 2, 0, step=0.1)
    assert 'data-look="note"' in text("note", "Note")


def test_a_drawing_says_which_tokens_its_cells_are(engine):
    drawing = lens_drawings(engine, asked(engine))["lens"]
    assert isinstance(drawing, Drawing)
    assert drawing.cells()["places"] == list(drawing.places)
