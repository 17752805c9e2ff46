"""Looking inside, as a visitor does: every section opened, used by mouse and by keyboard."""

import csv
import io
import re
import xml.dom.minidom

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from steps import LIVELY, classify, completion, drawn, expect, generate, pick_model

pytestmark = pytest.mark.browser


def open_section(page, title):
    """Open a section; the button that does it."""
    button = page.get_by_role("button", name=title).first
    button.click()
    return button


def click_at(image, x, y):
    """Click a picture at fractions of its sides."""
    box = image.bounding_box()
    image.click(position={"x": box["width"] * x, "y": box["height"] * y})


def saved(page, picture, kind):
    """A file that a picture is saved as."""
    with page.expect_download() as download:
        page.locator(f"{picture} [data-save={kind}]").first.click()
    with open(download.value.path(), "rb") as file:
        return download.value.suggested_filename, file.read()


def test_a_drawn_token_shows_each_step_of_its_draw(visit, engine):
    page = visit()
    generate(page, "Hello world", settings={"Temperature": 1.5, "Top-k": 40, "New tokens": 12})
    words = page.locator("#bars img").get_attribute("alt")
    assert "temperature 1.5" in words.lower()
    assert "top-k 40" in words
    assert "random number" in words
    drawn(page).nth(5).click()
    expect(page.locator("#bars img")).not_to_have_attribute("alt", words)
    page.locator("#strip button[title='prompt token']").last.click()
    expect(page.locator("#token")).to_contain_text("Token 1, in the prompt")
    expect(page.locator("#bars img")).not_to_have_attribute("alt", re.compile("random number"))


def test_pictures_and_their_numbers_can_be_saved(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    name, png = saved(page, "#bars", "png")
    assert name == "token-2.png"
    assert png.startswith(b"\x89PNG")
    name, svg = saved(page, "#bars", "svg")
    assert name == "token-2.svg"
    assert xml.dom.minidom.parseString(svg).documentElement.tagName == "svg"
    name, table = saved(page, "#bars", "csv")
    lines = list(csv.reader(io.StringIO(table.decode(), newline="")))  # some tokens hold line ends
    assert name == "token-2.csv"
    assert lines[0][:3] == ["id", "token", "softmax"]
    assert len(lines) == 1 + 50257
    assert lines[1 + 262][1] == " the"


def test_all_heads_can_be_seen_and_one_clicked_to_enlarge(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    open_section(page, "Attention")
    one, many = page.locator("#generate-head img"), page.locator("#generate-heads img")
    expect(one).to_have_attribute("alt", re.compile("layer 1, head 1", re.I))
    expect(page.locator("#generate-does")).to_contain_text("previous token")
    click_at(many, 0.05, 0.5)
    expect(one).to_have_attribute("alt", re.compile("layer 1, head 0", re.I))
    page.get_by_label("heads of all layers").first.check()
    expect(many).to_have_attribute("alt", re.compile("2 layers of 2 heads"))
    for name, words in (
        ("weighted by value", "length of what"),
        ("rollout through all layers", "Rollout"),
        ("attention", "layer 1, head 0"),
    ):
        page.get_by_label(name, exact=True).first.check()
        expect(one).to_have_attribute("alt", re.compile(words, re.I))


def test_a_long_text_has_an_overview_to_move_the_map_by(visit):
    page = visit()
    pick_model(page, "long")
    generate(page, "Hello world " * 60, settings={"New tokens": 5})
    open_section(page, "Attention")
    overview = page.locator("#generate-overview img")
    expect(overview).to_have_attribute("alt", re.compile("Outlined: tokens 0 to 63"))
    click_at(overview, 0.5, 0.8)
    expect(overview).not_to_have_attribute("alt", re.compile("Outlined: tokens 0 to 63"))
    expect(page.locator("#generate-does")).not_to_contain_text("Shown: tokens 0 to 63")


def test_the_logit_lens_follows_the_selected_token(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    open_section(page, "Logit lens")
    ranks = page.locator("#lens-ranks img")
    expect(page.locator("#lens-grid img")).to_have_attribute("alt", re.compile("2 layers"))
    before = ranks.get_attribute("alt")
    drawn(page).nth(8).focus()
    page.keyboard.press("Enter")
    expect(ranks).not_to_have_attribute("alt", before)
    header, *rows = saved(page, "#lens-grid", "csv")[1].decode().splitlines()
    assert header == "layer,position,after token,guess,token,probability"
    assert len(rows) == 3 * 16 * 5  # the embedding and two layers; five guesses


def test_heads_are_switched_off_and_the_text_written_again(visit):
    page = visit()
    generate(page, "Hello world", settings={"Temperature": 0, "New tokens": 12})
    open_section(page, "Switch heads off")
    expect(page.locator("#switch-map img")).to_have_attribute("alt", re.compile("2 layers"))
    expect(page.locator("#switch-words")).to_contain_text("as trained")
    page.get_by_label("Scale", exact=True).click()
    page.get_by_role("option", name="a whole layer").click()
    page.get_by_role("button", name="Set", exact=True).press("Enter")
    expect(page.locator("#switch-words")).to_contain_text("Now: layer 0 off.")
    expect(page.locator("#switch-bars img")).to_be_visible()
    page.get_by_role("button", name="Write it again like this").click()
    texts = page.locator("#switch-texts p")
    expect(texts).to_have_count(2)
    expect(page.locator("#switch-texts mark").first).not_to_be_empty()
    page.get_by_role("button", name="All as trained").click()
    expect(page.locator("#switch-words")).to_contain_text("All heads work as trained.")
    page.get_by_role("button", name="Write it again like this").click()
    expect(page.locator("#switch-texts mark").first).to_be_empty()


def test_a_closed_section_draws_nothing(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    button = open_section(page, "Logit lens")
    expect(page.locator("#lens-ranks img")).to_be_visible()
    before = page.locator("#lens-ranks img").get_attribute("alt")
    button.click()
    drawn(page).nth(8).click()
    expect(page.locator("#token")).to_contain_text("Token 10 ")
    page.wait_for_timeout(500)
    assert page.locator("#lens-ranks img").get_attribute("alt") == before
    button.click()
    expect(page.locator("#lens-ranks img")).not_to_have_attribute("alt", before)


def test_a_token_is_explained_and_the_explanation_checked(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    drawn(page).nth(4).click()
    expect(page.locator("#token")).to_contain_text("Token 6 ")
    open_section(page, "Why this token?")
    bars = page.locator("#generate-why-bars img")
    expect(bars).to_have_attribute("alt", re.compile("gradient x input"))
    for method in ("integrated gradients", "occlusion", "all three"):
        page.get_by_label(method, exact=True).first.check()
        words = "Strongest by" if method == "all three" else method
        expect(bars).to_have_attribute("alt", re.compile(words))
    expect(page.locator("#generate-why-words")).to_contain_text("the bars add up to")
    page.get_by_label("Rather than").fill(" the")
    expect(page.locator("#generate-why-words")).to_contain_text("Lead over ·the:")
    open_section(page, "Is this picture true?")
    expect(page.locator("#generate-true-curves img")).to_be_visible()
    expect(page.locator("#generate-true-table tr")).to_have_count(6)
    expect(page.locator("#generate-true-table")).to_contain_text("random order")


def test_a_topic_is_explained(visit):
    page = visit()
    classify(page, "Oil prices climb as the storm nears.")
    section = page.get_by_role("button", name="Why this topic?")
    section.click()
    expect(page.locator("#classify-why-bars img")).to_have_attribute("alt", re.compile("9 tokens"))


def test_any_text_can_be_scored(visit, engine):
    page = visit()
    open_section(page, "Score a text")
    page.get_by_label("Text to score").fill("Hello world, <b>hello</b>.")
    page.get_by_role("button", name="Score", exact=True).click()
    found = engine.inspector.score("Hello world, <b>hello</b>.")
    expect(page.locator("#score-status")).to_contain_text(f" {found.nll:.2f} nats a token")
    expect(page.locator("#score-strip")).to_contain_text("<b>hello</b>")
    expect(page.locator("#score-picture img")).to_be_visible()
    header, *rows = saved(page, "#score-picture", "csv")[1].decode().splitlines()
    assert header == "id,token,logprob,rank,entropy"
    assert len(rows) == len(found.ids)
    page.get_by_label("Text to score").fill("")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_text("the text is empty").first).to_be_visible()


def test_another_token_is_chosen_and_the_branches_walked(visit, engine):
    from gpt2.engine import Request, Sampling

    page = visit()
    generate(page, "Hello world", settings={**LIVELY, "Temperature": 1, "New tokens": 12})
    first = completion(page)
    drawn(page).nth(4).click()
    expect(page.locator("#token")).to_contain_text("Token 6 ")
    choice = page.locator("#alternatives [data-choice]").nth(2)
    token = int(choice.get_attribute("data-choice"))
    choice.focus()
    page.keyboard.press("Enter")
    tree = page.locator("#tree [data-choice]")
    expect(tree).to_have_count(3)  # two texts and Undo
    expect(page.locator("#token")).to_contain_text("chosen by you")
    second = completion(page)
    assert second != first
    assert drawn(page).count() == 12
    request = Request("Hello world", 12, Sampling(temperature=1, top_k=0))
    *_, trace = engine.generate(request)
    place = len(trace.prompt_ids) + 4
    *_, wanted = engine.branch(request, trace.ids, place, token)
    assert second == wanted.completion  # the page wrote what the engine does, and it replays
    drawn(page).nth(8).click()
    page.get_by_label("Or type a token to go on with").fill(" Zimbabwean never")
    page.get_by_role("button", name="Go on with it").click()
    expect(tree).to_have_count(4)
    assert " Zimbabwean never" in completion(page)
    expect(page.locator("#token code")).to_have_text("·never")
    expect(page.locator("#tree .compare b")).to_have_text(["Text 2", "Text 3"])
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Completion", exact=True)).to_have_value(second)
    tree.first.click()
    expect(page.get_by_label("Completion", exact=True)).to_have_value(first)
    generate(page, "Hello world", settings={"New tokens": 5})
    expect(tree).to_have_count(0)


def test_a_token_of_the_prompt_has_no_branches(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    page.locator("#strip button[title='prompt token']").last.click()
    expect(page.locator("#alternatives")).to_contain_text("change it there")
    page.get_by_label("Or type a token to go on with").fill(" never")
    page.get_by_role("button", name="Go on with it").click()
    expect(page.get_by_text("position").first).to_be_visible()
