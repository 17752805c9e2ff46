"""Each view as a visitor uses it: what it shows, by mouse and by keyboard, and what it asks for."""

import csv
import io
import json
import re
import xml.dom.minidom
from contextlib import contextmanager

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from steps import (
    LIVELY,
    classify,
    drawn,
    expect,
    generate,
    number_of,
    pick_model,
    picture,
    said,
    selected,
    settled,
    show,
    status,
)

from gpt2.records import METHODS
from gpt2.ui.classify.examples import EXAMPLES
from gpt2.ui.preset_places import place
from gpt2.ui.presets import PRESETS

pytestmark = pytest.mark.browser

NEWS = "Oil prices climb as the storm nears, and shares of producers follow"
HOSTILE = '<img src=x onerror="window.__x=1"> & <b>bold</b>'

# Looks of both texts as they were first; a shared page is put back to them.
KEEP = """() => {
    window.first = {};
    for (const stage of Object.values(gpt2.stages)) first[stage.tab] = structuredClone(stage.look);
}"""
PUT_BACK = """() => {
    gpt2.open_tab("generate");
    for (const { tab } of Object.values(gpt2.stages)) {
        const [stage, look] = [gpt2.stages[tab], structuredClone(first[tab])];
        for (const name in stage.look) if (!(name in look)) delete stage.look[name];
        stage.set(look);
        stage.show(look.view);
    }
    for (const field of document.querySelectorAll(".paste textarea")) field.value = "";
}"""


@pytest.fixture(scope="module")
def written(visit_once):
    """A page with a text of 22 tokens, of which 2 are the prompt's, and a news text."""
    page = visit_once()
    generate(
        page, "Hello world", settings={"Temperature": 1.5, "Top-k": 40, "New tokens": 20, "Seed": 3}
    )
    page.get_by_role("button", name=re.compile("^Settings:")).click()
    classify(page, NEWS)
    page.evaluate(KEEP)
    return page


@pytest.fixture
def page(written):
    """The same, looked at as it was first; its texts are not to be written anew."""
    return put_back(written)


@pytest.fixture(scope="module")
def full(visit_once):
    """A page with a text that fills the context of 256 tokens; a map has room for 64."""
    page = visit_once()
    pick_model(page, "long")
    generate(page, "Hello world " * 200, settings={"New tokens": 10})
    page.get_by_role("button", name=re.compile("^Settings:")).click()
    show(page, "Attention")
    page.evaluate(KEEP)
    return page


@pytest.fixture
def long_page(full):
    """The same, looked at as it was first."""
    return put_back(full)


def put_back(page):
    page.bring_to_front()  # behind another it draws one frame a second
    page.evaluate(PUT_BACK)
    settled(page)
    return page


def panel(page, tab="generate"):
    """The view that is open."""
    return page.locator(f"#{tab}-inspector [role=tabpanel]:visible")


def choose(page, label, tab="generate"):
    """One of a few, by the words on it."""
    panel(page, tab).get_by_label(label, exact=True).check()
    settled(page, tab)


def cell_at(page, slot, row, column):
    """Walk to a cell of a heat map with the arrow keys; the cell."""
    cell = page.locator(f"#{slot} [role=gridcell]")
    cell.focus()
    for key in ("PageUp", "Home", *["ArrowDown"] * row, *["ArrowRight"] * column):
        page.keyboard.press(key)
    return cell


def click_cell(page, slot, row, column, tab="generate"):
    """Click a cell of a heat map with the mouse."""
    box = cell_at(page, slot, row, column).bounding_box()
    page.evaluate("document.activeElement.blur()")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    settled(page, tab)


def mark(page, slot):
    """The frame of what is marked in a heat map."""
    return page.locator(f"#{slot} .marked")


def same_row(one, other):
    """Whether two boxes are at the same height."""
    middle = one["y"] + one["height"] / 2
    return other["y"] <= middle <= other["y"] + other["height"]


def save(page, slot, *kinds):
    """Press the buttons of a picture one right after the other; the files, by name."""
    files = []

    def note(file):
        files.append(file)

    page.on("download", note)
    for kind in kinds:
        page.locator(f"#{slot}").get_by_role("button", name=kind, exact=True).click()
    for _ in range(200):
        if len(files) >= len(kinds):
            break
        page.wait_for_timeout(50)
    page.remove_listener("download", note)
    return {file.suggested_filename: file.path().read_bytes() for file in files}


def table(page, slot):
    """A picture's numbers: the names of the columns, and the rows."""
    (data,) = save(page, slot, "CSV").values()
    header, *rows = csv.reader(io.StringIO(data.decode(), newline=""))  # tokens hold line ends
    return header, rows


@contextmanager
def asked(page):
    """What the page asks of the server meanwhile: names of views and events, as they are asked."""
    names = page.evaluate(
        """() => Object.fromEntries(gradio_config.dependencies.map(({ id, targets }) => {
            const [component, event] = targets[0] ?? [];
            const found = gradio_config.components.find((other) => other.id === component);
            return [id, `${found?.props.elem_id}.${event}`];
        }))"""
    )
    seen = []

    def note(request):
        if request.url.partition("?")[0].endswith("queue/join"):
            seen.append(names[str(json.loads(request.post_data)["fn_index"])])

    page.on("request", note)
    yield seen
    page.remove_listener("request", note)


# --- the next token --------------------------------------------------------------------------


def test_the_draw_tells_each_step_of_it(page):
    words = said(page, "bars")
    assert "After temperature 1.5" in words
    assert "After top-k 40" in words
    assert "The random number 0." in words


def test_a_token_of_the_prompt_was_not_drawn(page):
    page.locator("#strip .prompt").last.click()
    settled(page)
    expect(page.locator("#token")).to_contain_text("Token 1, in the prompt")
    assert not re.search("temperature|top-k|random number", said(page, "bars"))


def test_three_files_asked_for_at_once_all_come(page):
    """Of PNG, SVG and CSV pressed one right after the other only one came."""
    files = save(page, "bars", "PNG", "SVG", "CSV")
    assert set(files) == {"token-2.png", "token-2.svg", "token-2.csv"}
    assert files["token-2.png"].startswith(b"\x89PNG")
    assert xml.dom.minidom.parseString(files["token-2.svg"]).documentElement.tagName == "svg"
    assert files["token-2.csv"].startswith(b"id,token,softmax,repetition_penalty,temperature,top_k")


def test_the_numbers_of_a_draw_are_those_of_the_whole_vocabulary(page):
    header, rows = table(page, "bars")
    assert header[:3] == ["id", "token", "softmax"]
    assert len(rows) == 50257
    assert rows[262][:2] == ["262", " the"]


# --- attention -------------------------------------------------------------------------------


def shown_head(page, tab="generate"):
    """What the map says that it shows: "layer 1, head 0"."""
    return re.search(r"layer \d+, (head \d+|mean over heads)", said(page, f"{tab}-map")).group()


def test_a_head_is_picked_with_the_mouse(page):
    show(page, "Attention")
    assert shown_head(page) == "layer 1, head 1"
    click_cell(page, "generate-heads", 0, 1)
    assert shown_head(page) == "layer 0, head 1"
    click_cell(page, "generate-heads", 1, 0)
    assert shown_head(page) == "layer 1, head 0"


def test_a_head_is_picked_with_the_keyboard(page):
    show(page, "Attention")
    cell = cell_at(page, "generate-heads", 0, 0)
    page.keyboard.press("Enter")
    settled(page)
    assert shown_head(page) == "layer 0, head 0"
    expect(cell).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    settled(page)
    assert shown_head(page) == "layer 1, head 0"


def test_heads_are_stepped_through_down_to_their_mean(page):
    show(page, "Attention")
    down = panel(page).get_by_role("button", name="Head (−1: mean) down")
    for head in ("head 0", "mean over heads", "mean over heads"):
        down.click()
        settled(page)
        assert shown_head(page) == f"layer 1, {head}"
    whole = mark(page, "generate-heads").bounding_box()
    panel(page).get_by_role("button", name="Head (−1: mean) up").click()
    panel(page).get_by_role("button", name="Layer down").click()
    settled(page)
    assert shown_head(page) == "layer 0, head 0"
    one = mark(page, "generate-heads").bounding_box()
    assert whole["width"] > 1.9 * one["width"]  # the layer of the mean is marked, then the head
    assert one["y"] < whole["y"]


def test_a_layer_typed_too_high_is_the_last(page):
    show(page, "Attention")
    field = panel(page).get_by_role("spinbutton", name="Layer", exact=True)
    field.fill("99")
    field.press("Enter")
    expect(field).to_have_value("1")
    settled(page)
    assert shown_head(page) == "layer 1, head 1"


def test_a_map_shows_shares_what_they_carry_or_all_layers(page):
    show(page, "Attention")
    for kind, words in (
        ("weighted by value", "length of what each token takes"),
        ("rollout", "Rollout"),
        ("attention", "Attention of layer 1, head 1"),
    ):
        choose(page, kind)
        assert words in said(page, "generate-map")
        told = {"weighted by value": "Kobayashi", "rollout": "Abnar"}.get(kind, "of its attention")
        expect(page.locator("#generate-does")).to_contain_text(told)


def test_a_head_picked_in_a_rollout_shows_its_attention(page):
    show(page, "Attention")
    choose(page, "rollout")
    click_cell(page, "generate-heads", 0, 0)
    assert shown_head(page) == "layer 0, head 0"
    expect(panel(page).get_by_label("attention", exact=True)).to_be_checked()


def test_the_row_of_the_selected_token_is_marked(page):
    show(page, "Attention")
    for token in (6, 15):
        page.locator(f"#strip [data-index='{token}']").click()
        settled(page)
        row = cell_at(page, "generate-map", token, 0).bounding_box()
        assert same_row(row, mark(page, "generate-map").bounding_box())


def test_a_row_of_the_map_picks_its_token(page):
    show(page, "Attention")
    click_cell(page, "generate-map", 9, 4)
    assert selected(page) == 9


def outlined(page):
    """The tokens of the map, as the overview says them."""
    first, last = re.search(r"tokens (\d+) to (\d+)", said(page, "generate-overview")).groups()
    return int(first), int(last)


def test_a_long_text_is_shown_as_a_whole_and_a_click_moves_the_map(long_page):
    first = outlined(long_page)
    assert "overview of 256 tokens" in said(long_page, "generate-overview")
    box = picture(long_page, "generate-overview").bounding_box()
    long_page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.45)
    settled(long_page)
    moved = outlined(long_page)
    assert moved != first
    assert moved[1] - moved[0] == 63
    assert said(long_page, "generate-map").startswith("Attention of layer 1, head 1, over 64 tok")
    field = panel(long_page).get_by_role("spinbutton", name="First token shown")
    expect(field).to_have_value(str(moved[0]))
    panel(long_page).get_by_role("button", name="First token shown up").click()
    settled(long_page)
    assert outlined(long_page) == (moved[0] + 1, moved[1] + 1)


def test_the_map_of_a_long_text_holds_the_selected_token(long_page):
    for token in (250, 193, 240):
        long_page.evaluate(f"gpt2.stages.generate.pick({token})")
        settled(long_page)
        first, last = outlined(long_page)
        assert first <= token <= last
        row = cell_at(long_page, "generate-map", token - first, 0).bounding_box()
        assert same_row(row, mark(long_page, "generate-map").bounding_box())
    start = outlined(long_page)[0]
    long_page.evaluate("gpt2.stages.generate.pick(3)")
    settled(long_page)
    assert outlined(long_page)[0] < 4 < start


def test_a_full_context_is_shown_to_its_last_token(long_page):
    long_page.evaluate("gpt2.stages.generate.pick(1000)")
    settled(long_page)
    assert outlined(long_page) == (192, 255)
    assert long_page.evaluate("gpt2.stages.generate.text.ids.length") >= 256
    for kind in ("weighted by value", "rollout"):
        choose(long_page, kind)
        expect(picture(long_page, "generate-map")).to_be_visible()


def test_a_short_text_has_no_window_to_move(page):
    show(page, "Attention")
    expect(panel(page).get_by_role("spinbutton", name="First token shown")).not_to_be_visible()
    assert page.locator("#generate-overview figure").count() == 0


# --- layers ----------------------------------------------------------------------------------


def word(page, token):
    """What a token reads, as far as it is plain letters."""
    words = page.locator(f"#strip [data-index='{token}']").inner_text()
    return re.sub(r"[^!-~]", "", words)


def test_the_layers_follow_the_selected_token(page):
    show(page, "Layers")
    assert "2 layers" in said(page, "lens")
    for token in (4, 12):
        page.locator(f"#strip [data-index='{token}']").click()
        settled(page)
        assert word(page, token) in said(page, "rank")
        # The lens moves along with it; the marked column is that of the token before.
        first = cell_at(page, "lens", 0, 0).bounding_box()
        column = round((mark(page, "lens").bounding_box()["x"] - first["x"]) / first["width"])
        assert word(page, token - 1) in cell_at(page, "lens", 0, column).get_attribute("aria-label")


def test_a_cell_of_the_layers_picks_the_token_it_leads_to(page):
    drawn(page).nth(8).click()
    show(page, "Layers")
    cell = cell_at(page, "lens", 1, 1)
    words = cell.get_attribute("aria-label")
    page.keyboard.press("Enter")
    settled(page)
    picked = selected(page)
    assert word(page, picked - 1) in words
    rank = said(page, "rank")
    click_cell(page, "lens", 0, 0)
    assert selected(page) < picked
    assert said(page, "rank") != rank


def test_the_numbers_of_the_layers_are_five_guesses_a_cell(page):
    show(page, "Layers")
    header, rows = table(page, "lens")
    assert header == ["layer", "position", "after token", "guess", "token", "probability"]
    columns = {row[1] for row in rows}
    assert len(rows) == 3 * len(columns) * 5  # the embedding and two layers
    assert len(columns) > 4


# --- parts switched off ----------------------------------------------------------------------


def test_the_map_says_what_each_part_is_worth_and_a_click_switches_one(page):
    show(page, "Switch off")
    assert "2 layers of 2 heads" in said(page, "off")
    assert "Known so far" not in said(page, "off")
    words = page.locator("#parts")
    expect(words).to_have_text("Now: every part works as trained.")
    assert mark(page, "off").count() == 0
    click_cell(page, "off", 0, 1)
    expect(words).to_have_text("Now: head 1 of layer 0 off.")
    assert mark(page, "off").count() == 1
    assert "as trained" in said(page, "instead")
    assert "like this" in said(page, "instead")
    click_cell(page, "off", 1, 2)  # the MLPs are last
    expect(words).to_have_text("Now: head 1 of layer 0 off, the MLP of layer 1 off.")
    assert mark(page, "off").count() == 2
    click_cell(page, "off", 0, 1)
    expect(words).to_have_text("Now: the MLP of layer 1 off.")
    panel(page).get_by_role("button", name="All as trained").click()
    settled(page)
    expect(words).to_have_text("Now: every part works as trained.")
    assert mark(page, "off").count() == page.locator("#instead figure").count() == 0


def test_a_part_is_switched_with_the_keyboard(page):
    show(page, "Switch off")
    cell = cell_at(page, "off", 1, 0)
    page.keyboard.press("Enter")
    expect(page.locator("#parts")).to_have_text("Now: head 0 of layer 1 off.")
    expect(cell).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#parts")).to_have_text("Now: every part works as trained.")


def test_a_whole_layer_is_switched_and_parts_are_weakened_or_doubled(page):
    show(page, "Switch off")
    panel(page).get_by_role("button", name="Layer down").click()
    panel(page).get_by_role("button", name="Switch the layer").click()
    expect(page.locator("#parts")).to_have_text("Now: layer 0 off.")
    strength = panel(page).get_by_role("spinbutton", name="A click sets the strength")
    for value, words in (("0.5", "times 0.5"), ("2", "times 2"), ("7", "times 2")):
        strength.fill(value)
        strength.press("Enter")
        panel(page).get_by_role("button", name="All as trained").click()
        click_cell(page, "off", 1, 1)
        expect(page.locator("#parts")).to_have_text(f"Now: head 1 of layer 1 {words}.")


def test_another_strength_does_not_switch_a_part_back(page):
    show(page, "Switch off")
    click_cell(page, "off", 0, 0)
    panel(page).get_by_role("button", name="to up").click()
    click_cell(page, "off", 0, 0)
    expect(page.locator("#parts")).to_have_text("Now: head 0 of layer 0 times 0.1.")


def test_what_is_switched_stays_for_another_token(page):
    show(page, "Switch off")
    click_cell(page, "off", 0, 1)
    before = said(page, "off"), said(page, "instead")
    drawn(page).nth(9).click()
    settled(page)
    expect(page.locator("#parts")).to_have_text("Now: head 1 of layer 0 off.")
    assert mark(page, "off").count() == 1
    assert said(page, "off") != before[0]
    assert said(page, "instead") != before[1]


def test_the_text_is_written_again_without_a_part(page):
    show(page, "Switch off")
    again = panel(page).get_by_role("button", name="Write it again like this")
    panel(page).get_by_role("button", name="Switch the layer").click()
    settled(page)
    again.click()
    texts = page.locator("#again .compare p")
    expect(texts).to_have_count(2)
    completion = page.evaluate("gpt2.stages.generate.text.completion")
    page.wait_for_function(
        "words => document.querySelector('#again .compare p')?.textContent === words",
        arg=completion,
    )
    expect(page.locator("#again mark").first).not_to_be_empty()
    drawn(page).nth(9).click()  # it is of the text, not of a token
    settled(page)
    expect(texts).to_have_count(2)
    panel(page).get_by_role("button", name="All as trained").click()
    expect(texts).to_have_count(0)
    again.click()
    expect(page.locator("#again")).to_contain_text("all parts work as trained; switch one off")


def test_what_is_switched_is_back_when_another_model_writes(visit):
    """Parts of one model were switched in the next."""
    page = visit()
    generate(page, "Hello world", settings={"New tokens": 5})
    show(page, "Switch off")
    click_cell(page, "off", 0, 1)
    pick_model(page, "other")
    expect(page.locator("#parts")).to_have_text("Now: head 1 of layer 0 off.")
    generate(page, "Hello world")
    expect(page.locator("#parts")).to_have_text("Now: every part works as trained.")
    assert mark(page, "off").count() == 0
    assert "3 layers of 4 heads" in said(page, "off")
    expect(panel(page).get_by_role("spinbutton", name="Layer", exact=True)).to_have_attribute(
        "max", "2"
    )


# --- why -------------------------------------------------------------------------------------


def test_each_method_says_what_the_token_rests_on(page):
    drawn(page).nth(4).click()
    show(page, "Why")
    seen = set()
    for method in METHODS:
        choose(page, method)
        words = said(page, "generate-why-picture")
        assert f"Strongest by {method}" in words
        assert "over 6 tokens" in words
        seen.add(words)
    assert len(seen) == len(METHODS)
    choose(page, "all three")
    words = said(page, "generate-why-picture")
    assert all(f"Strongest by {method}" in words for method in METHODS)
    expect(page.locator("#generate-why-words")).to_contain_text("add up to")


def test_a_token_is_explained_rather_than_another(page):
    drawn(page).nth(4).click()
    show(page, "Why")
    field = panel(page).get_by_role("textbox", name="Rather than")
    field.fill(" the")
    field.press("Enter")
    expect(page.locator("#generate-why-words")).to_contain_text("Lead over ·the:")
    settled(page)
    assert "rather than" in said(page, "generate-why-picture")
    field.fill("")
    field.press("Tab")
    settled(page)
    assert "rather than" not in said(page, "generate-why-picture")


def test_whether_a_method_tells_the_truth_is_measured(page):
    drawn(page).nth(4).click()
    show(page, "Why")
    choose(page, "is it true?")
    words = said(page, "generate-why-picture")
    assert all(f" {method} " in words for method in METHODS)
    areas = page.locator("#generate-why-table dt")
    expect(areas).to_have_count(5)
    expect(page.locator("#generate-why-table")).to_contain_text("random order")
    expect(panel(page).get_by_label(METHODS[0], exact=True)).not_to_be_visible()
    choose(page, "reasons")
    assert page.locator("#generate-why-table dt").count() == 0


# --- score -----------------------------------------------------------------------------------


def test_the_text_on_the_page_is_scored_unless_another_is_pasted(page, engine):
    show(page, "Score")
    words = page.locator("#score-words")
    ids = tuple(page.evaluate("gpt2.stages.generate.text.ids"))
    own = engine.inspector.score_tokens(ids, model=engine.catalog.models[0])
    own_words = f"The text on the page: {len(own.ids)} tokens"
    expect(words).to_contain_text(own_words)
    expect(words).to_contain_text(f" {own.nll:.2f} nats a token")
    field = panel(page).get_by_label("Text to score")
    button = panel(page).get_by_role("button", name="Score", exact=True)
    field.fill(HOSTILE)
    button.click()
    found = engine.inspector.score(HOSTILE)
    expect(words).to_contain_text("The pasted text: ")
    expect(words).to_contain_text(f" {found.nll:.2f} nats a token")
    expect(page.locator("#score-text .scored")).to_contain_text(HOSTILE[3:])
    settled(page)
    header, rows = table(page, "score-picture")
    assert header == ["id", "token", "logprob", "rank", "entropy"]
    assert len(rows) == len(found.ids)
    assert page.locator("#score-text").locator("img, b").count() == 0
    assert page.evaluate("window.__x") is None
    field.fill("")
    button.click()
    expect(words).to_contain_text(own_words)
    expect(page.locator("#score-text .scored")).to_have_count(0)


def test_too_long_a_text_to_score_is_told_with_the_limit(page):
    show(page, "Score")
    panel(page).get_by_label("Text to score").fill("x" * 20_001)
    with asked(page) as requests:
        panel(page).get_by_role("button", name="Score", exact=True).click()
        told = panel(page).locator(".told")
        expect(told).to_have_text("the text has 20,001 characters; the limit is 20,000; shorten it")
        expect(page.locator("#score-words")).to_contain_text("The text on the page")
        page.wait_for_timeout(200)
    assert requests == []
    panel(page).get_by_label("Text to score").fill("short enough")
    panel(page).get_by_role("button", name="Score", exact=True).click()
    expect(page.locator("#score-words")).to_contain_text("The pasted text")
    expect(told).to_be_empty()


# --- classify --------------------------------------------------------------------------------


@pytest.fixture
def news(page, engine):
    """The page at its news text, and what the classifier says of that."""
    page.get_by_role("tab", name="Classify", exact=True).click()
    settled(page, "classify")
    return page, engine.inspector.classify(NEWS)


def news_token(page, index):
    return page.locator(f"#classify-strip [data-index='{index}']")


def test_a_token_of_the_news_text_changes_what_is_said_of_it(news):
    page, verdict = news
    lines = said(page, "decided-lines")
    assert f"along {len(verdict.ids)} tokens" in lines
    for token in (2, 5):
        news_token(page, token).click()
        settled(page, "classify")
        leader = verdict.labels[int(verdict.per_token[token].argmax())]
        here = page.locator("#decided-place")
        expect(here).to_contain_text(f"After token {token} ")
        expect(here).to_contain_text(leader)
    assert said(page, "decided-lines") == lines
    assert selected(page, "classify") == 5


def test_a_news_texts_attention_is_shown_and_its_rows_pick_tokens(news):
    page, verdict = news
    show(page, "Attention", "classify")
    assert f"over {len(verdict.ids)} tokens" in said(page, "classify-map")
    cell_at(page, "classify-heads", 0, 0)
    page.keyboard.press("Enter")
    settled(page, "classify")
    assert shown_head(page, "classify") == "layer 0, head 0"
    click_cell(page, "classify-map", 4, 2, "classify")
    assert selected(page, "classify") == 4
    row = cell_at(page, "classify-map", 4, 0).bounding_box()
    assert same_row(row, mark(page, "classify-map").bounding_box())
    show(page, "When did it decide", "classify")
    expect(page.locator("#decided-place")).to_contain_text("After token 4 ")


def test_the_topic_after_a_token_is_explained(news):
    page, verdict = news
    news_token(page, 6).click()
    show(page, "Why", "classify")
    leader = verdict.labels[int(verdict.per_token[6].argmax())]
    words = said(page, "classify-why-picture")
    assert leader in words
    assert "over 7 tokens" in words
    assert panel(page, "classify").get_by_role("textbox", name="Rather than").count() == 0
    choose(page, "is it true?", "classify")
    assert f"probability of {leader}" in said(page, "classify-why-picture")


def test_many_texts_are_read_and_a_click_reads_one_at_the_left(visit, engine):
    page = visit()
    classify(page, NEWS)
    show(page, "Many texts", "classify")
    rows = page.locator("#many-texts tr:has(td)")
    expect(rows).to_have_count(5)  # the examples
    texts = ["The striker scored twice", HOSTILE, "A telescope found a planet"]
    page.get_by_label("Texts, one a line").fill("\n\n".join(texts) + "\n")
    page.get_by_role("button", name="Classify all").click()
    expect(rows).to_have_count(3)
    for row, text in zip(rows.all(), texts, strict=True):
        expect(row.get_by_role("button")).to_have_text(text)
        expect(row).to_contain_text(engine.inspector.classify(text).label)
    expect(page.locator("#many-words")).to_contain_text("3 texts · ")
    assert page.locator("#many-texts").locator("img, b").count() == 0
    before = number_of(page, "classify")
    rows.nth(2).get_by_role("button").click()
    page.wait_for_function("n => gpt2.stages.classify.text.number !== n", arg=before)
    settled(page, "classify")
    expect(page.get_by_label("News text", exact=True)).to_have_value(texts[2])
    expect(page.locator("#verdict")).to_contain_text(engine.inspector.classify(texts[2]).label)
    expect(rows).to_have_count(3)  # and the list stays
    assert page.evaluate("window.__x") is None


def test_an_example_is_read_by_one_click(visit, engine):
    page = visit()
    page.get_by_role("tab", name="Classify", exact=True).click()
    expect(panel(page, "classify")).to_contain_text("Classify a text, or click an example.")
    page.get_by_role("button", name="Football", exact=True).click()
    page.wait_for_function("gpt2.stages.classify.text?.completion")
    settled(page, "classify")
    expect(page.get_by_label("News text", exact=True)).to_have_value(EXAMPLES["Football"])
    verdict = engine.inspector.classify(EXAMPLES["Football"])
    expect(page.locator("#verdict")).to_contain_text(verdict.label)
    assert f"along {len(verdict.ids)} tokens" in said(page, "decided-lines")


def test_too_many_texts_are_told_with_the_limit(news):
    page, _ = news
    show(page, "Many texts", "classify")
    page.get_by_label("Texts, one a line").fill("a text\n" * 51)
    page.get_by_role("button", name="Classify all").click()
    expect(panel(page, "classify").locator(".told")).to_have_text(
        "there are 51 texts; the limit is 50; leave some out"
    )


# --- what is asked for -----------------------------------------------------------------------


def test_only_the_view_that_is_open_is_drawn_and_its_neighbours_ahead(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    show(page, "Layers")
    with asked(page) as requests:
        drawn(page).nth(8).click()
        settled(page)
        page.wait_for_timeout(600)
        assert set(requests) == {"generate-layers.draw", "generate-layers.ahead"}
        assert requests.count("generate-layers.draw") == 1
        requests.clear()
        page.keyboard.press("ArrowRight")  # was drawn ahead
        settled(page)
        assert "generate-layers.draw" not in requests
        page.wait_for_timeout(300)
        requests.clear()
        page.keyboard.press("ArrowLeft")  # was seen before
        settled(page)
        page.wait_for_timeout(300)
        assert "generate-layers.draw" not in requests
        requests.clear()
        show(page, "Next token")
        show(page, "Layers")
        assert requests.count("generate-next.draw") == 1
        assert "generate-layers.draw" not in requests


def test_a_view_that_could_not_be_drawn_says_so_and_a_pick_tries_again(visit):
    """It stood there dimmed, of another token, and said nothing."""
    visit.forgiven = "503"
    page = visit(apart=True)
    generate(page, "Hello world", settings={"New tokens": 8})
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "full"}))
    page.get_by_role("tab", name="Layers", exact=True).click()
    expect(panel(page).locator(".told")).to_contain_text("could not be drawn")
    page.unroute("**/queue/join*")
    drawn(page).nth(4).click()
    settled(page)
    expect(panel(page).locator(".told")).to_be_empty()
    assert said(page, "lens")


def test_a_file_that_was_lost_leaves_the_others(visit):
    """No file could be saved any more until the page was loaded again."""
    visit.forgiven = "503"
    page = visit(apart=True)
    generate(page, "Hello world", settings={"New tokens": 8})
    page.wait_for_timeout(600)  # nothing is drawn ahead any more
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "full"}))
    with page.expect_response("**/queue/join*"):
        page.locator("#bars").get_by_role("button", name="PNG").click()
    page.unroute("**/queue/join*")
    assert set(save(page, "bars", "SVG")) == {"token-2.svg"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("text.model = 'gone'", "is of 'gone', which is not here any more"),
        ("text.ids = []", "is no text of tiny"),
    ],
)
def test_a_record_that_was_tampered_with_is_told_and_a_pick_works_again(visit, spoil, words):
    page = visit()
    generate(page, "Hello world", settings={"New tokens": 8})
    told = panel(page).locator(".told")
    page.evaluate(
        f"() => {{ const {{ text }} = gpt2.stages.generate; "
        f"window.whole = {{ model: text.model, ids: text.ids }}; {spoil}; }}"
    )
    show(page, "Layers")
    expect(told).to_contain_text(words)
    assert told.inner_text().count("\n") == 0
    page.evaluate("Object.assign(gpt2.stages.generate.text, window.whole)")
    drawn(page).nth(4).click()
    settled(page)
    expect(told).to_be_empty()
    assert said(page, "lens")
    drawn(page).nth(0).click()  # the one that was refused
    settled(page)
    expect(told).to_be_empty()
    assert "Rank of" in said(page, "rank")


# --- presets ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chips(visit_once):
    """A page whose presets are run one after the other."""
    return visit_once()


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_run_by_keyboard_alone(chips, engine, preset):
    """From the prompt on: its text, its view and its token, and what there is to see."""
    page = chips
    page.bring_to_front()
    page.get_by_role("tab", name="Generate", exact=True).click()
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.focus()
    page.keyboard.press("Tab")
    names = [other.name for other in PRESETS]
    for _ in range(len(names)):
        if page.evaluate("document.activeElement.innerText.trim()") == preset.name:
            break
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name=preset.name, exact=True)).to_be_focused()
    before = number_of(page, preset.tab)
    page.keyboard.press("Enter")
    page.wait_for_function(
        "([tab, n]) => (gpt2.stages[tab].text?.number ?? 0) !== n", arg=[preset.tab, before]
    )
    settled(page, preset.tab)
    if preset.tab == "generate":
        *_, record = engine.generate(preset.request(engine.catalog.models[0]))
        expect(status(page)).to_contain_text("stopped:")
        expect(prompt).to_have_value(preset.prompt)
        assert page.evaluate("gpt2.stages.generate.text.completion") == record.completion
    else:
        record = engine.inspector.classify(preset.prompt)
        expect(page.get_by_label("News text", exact=True)).to_have_value(preset.prompt)
    found = place(preset, engine, record)
    assert selected(page, preset.tab) == found.token
    tab = page.locator(f"#{preset.tab}-tab-{preset.view}")
    expect(tab).to_have_attribute("aria-selected", "true")
    if preset.view == "attention":
        head = f"head {found.head}" if found.head >= 0 else "mean over heads"
        assert shown_head(page) == f"layer {found.layer}, {head}"
    if preset.options:
        chosen = panel(page).get_by_label(preset.options["method"], exact=True)
        expect(chosen).to_be_checked()
    words = page.get_by_text(preset.words).filter(visible=True)
    expect(words).to_have_count(1)


def test_the_words_of_a_preset_go_with_its_text(chips):
    page = chips
    page.bring_to_front()
    page.get_by_role("tab", name="Generate", exact=True).click()
    page.get_by_role("button", name="A year", exact=True).click()
    words = next(preset.words for preset in PRESETS if preset.name == "A year")
    expect(page.get_by_text(words).filter(visible=True)).to_have_count(1)
    generate(page, "Hello world", settings={"New tokens": 5})
    expect(page.get_by_text(words).filter(visible=True)).to_have_count(0)
