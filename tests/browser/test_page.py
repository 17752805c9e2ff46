"""The page as a visitor meets it, in Chromium, with only the page's own server to talk to."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from programs import free_port
from steps import (
    LIVELY,
    classify,
    completion,
    drawn,
    expect,
    generate,
    open_attention,
    pick_model,
    set_numbers,
    status,
    tokens,
)

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = (
    '<img src=x onerror="window.__x=1">',
    "<script>window.__x=1</script>",
    "${window.__x=1}",
    "`${window.__x=1}`",
    "{{constructor.constructor('window.__x=1')()}}",
    "{{{window.__x=1}}}",
    "<svg/onload=window.__x=1>",
    "'\"><style onload=window.__x=1>",
    '<a href="javascript:window.__x=1">here</a>',
    '<iframe srcdoc="<script>parent.__x=1</script>">',
)


# --- generate --------------------------------------------------------------------------------


def test_it_writes_stops_when_told_and_writes_again(visit, page_server):
    page = visit()
    with page_server.slowed(0.15):
        generate(page, "Hello", settings={"New tokens": 60}, wait=False)
        expect(drawn(page).nth(2)).to_be_visible()
        early = completion(page)
        expect(drawn(page).nth(6)).to_be_visible()
        assert len(completion(page)) > len(early) > 0
        page.get_by_role("button", name="Stop", exact=True).click()
        stopped = time.time()
        expect(status(page)).to_contain_text("stopped: by you")
        page.wait_for_timeout(800)
        assert len([made for made in page_server.steps() if made > stopped + 0.4]) <= 1
    assert "Error" not in page.locator("#status").inner_text()
    left = drawn(page).count()
    expect(status(page)).to_contain_text(f"{left} tokens")
    expect(page.locator("#bars img")).to_be_visible()
    generate(page, "Hello", settings={"New tokens": 10})
    expect(status(page)).to_contain_text("10 tokens")
    expect(status(page)).to_contain_text("stopped: length")


def test_stop_leaves_no_error_and_the_number_of_tokens_there_are(visit, page_server):
    """Through Gradio's cancels it said "Error" or "writing", or too few, now and then."""
    page = visit()
    set_numbers(page, {"New tokens": 50})
    with page_server.slowed(0.1):
        for place in range(4):
            generate(page, f"Hello {place}", wait=False)
            expect(page.locator("#strip .first")).to_be_visible()
            page.wait_for_timeout(150 * place)
            page.get_by_role("button", name="Stop", exact=True).click()
            expect(status(page)).to_contain_text("stopped: by you")
            said = page.locator("#status").inner_text()
            assert "Error" not in said
            assert f"{drawn(page).count()} tokens" in said


def test_stop_reaches_a_text_that_still_waits(visit, page_server):
    """Four may use the model at once; a fifth waits, is stopped, and never writes on."""
    with page_server.slowed(0.3):
        pages = [visit(apart=True) for _ in range(5)]
        for page in pages:
            generate(page, "Hello", wait=False)
        last = pages[-1]
        last.get_by_role("button", name="Stop", exact=True).click()
        for page in pages[:-1]:
            page.get_by_role("button", name="Stop", exact=True).click()
        expect(status(last)).to_contain_text("stopped: by you")
        assert "1 token " in last.locator("#status").inner_text()


def test_stop_after_the_end_leaves_the_status_as_it_was(visit):
    page = visit()
    generate(page, "Hello", settings={"New tokens": 5})
    before = page.locator("#status").inner_text()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.wait_for_timeout(500)
    assert page.locator("#status").inner_text() == before


def test_the_text_and_the_strip_say_the_same(visit, engine):
    from gpt2.engine import Request, Sampling

    page = visit()
    generate(page, "Hello world", settings={**LIVELY, "Seed": 5})
    sampling = Sampling(temperature=2, top_k=0, seed=5)
    *_, trace = engine.generate(Request("Hello world", 20, sampling))
    assert completion(page) == trace.completion  # what the page wrote is what the API would
    assert drawn(page).count() == len(trace.steps)
    expect(status(page)).to_contain_text("seed 5 · tiny · stopped: length")


def test_a_token_picked_by_mouse_shows_its_alternatives(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    for place in (3, 10):
        button = drawn(page).nth(place)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#token")).to_contain_text(f"Token {place + 2} ")
        piece = page.locator("#token code").inner_text()
        expect(page.locator("#bars img")).to_have_attribute(
            "alt", re.compile(re.escape(piece.strip("·")))
        )
        number = button.get_attribute("title").split(" · ")[1]
        expect(page.locator("#token")).to_contain_text(number)
    assert page.locator("#strip [aria-pressed=true]").count() == 1


def test_tokens_picked_by_keyboard_keep_the_focus(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    drawn(page).first.focus()
    for place in (2, 3, 4):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#token")).to_contain_text(f"Token {place + 1} ")
        focused = page.evaluate("document.activeElement.dataset.index")
        assert focused == drawn(page).nth(place - 1).get_attribute("data-index")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#token")).to_contain_text("Token 4 ")
    page.get_by_role("button", name="Next token").click()
    expect(page.locator("#token")).to_contain_text("Token 5 ")
    expect(drawn(page).nth(3)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Previous token").click()
    expect(page.locator("#token")).to_contain_text("Token 4 ")


def test_the_tint_can_be_changed(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    styles = set()
    for name in ("rank", "entropy", "probability"):
        page.get_by_label(name, exact=True).check()
        expect(page.locator("#legend")).to_contain_text(name)
        page.wait_for_timeout(300)
        styles.add(drawn(page).nth(5).get_attribute("style"))
    assert len(styles) >= 2


def test_attention_opens_and_follows_layer_and_head(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    section = open_attention(page, "generate")
    image, grid = page.locator("#generate-head img"), page.locator("#generate-heads img")
    expect(image).to_have_attribute("alt", re.compile("layer 1, head 1", re.I))
    seen = [image.get_attribute("src")]
    for label, words in (("Layer", "layer 0, head 1"), ("Head", "layer 0, head 0")):
        slider = section.get_by_role("slider", name=re.compile(label))
        slider.focus()
        slider.press("ArrowLeft")  # the keyboard must do what the mouse does
        expect(image).to_have_attribute("alt", re.compile(words, re.I))
        seen.append(image.get_attribute("src"))
    expect(grid).to_have_attribute("alt", re.compile("layer 0", re.I))
    field = section.get_by_label(re.compile("number input for Head"))
    field.fill("-1")
    field.press("Enter")
    expect(image).to_have_attribute("alt", re.compile("layer 0.*mean", re.I))
    assert len({*seen, image.get_attribute("src")}) == 4


def test_attention_over_a_full_context_is_shown(visit):
    page = visit()
    generate(page, " the" * 64, settings={"New tokens": 20})
    expect(status(page)).to_contain_text("stopped: the context is full")
    open_attention(page, "generate")


def test_a_prompt_over_the_context_says_how_much_was_dropped(visit):
    page = visit()
    page.get_by_label("Prompt", exact=True).fill(" the" * 100)
    expect(page.get_by_text("100 of 64 tokens; the beginning will be dropped")).to_be_visible()
    generate(page, " the" * 100, settings={"New tokens": 10})
    expect(status(page)).to_contain_text("the first 46 tokens of the prompt were dropped")


def test_an_empty_prompt_starts_from_the_end_of_text(visit):
    page = visit()
    generate(page, "", settings={"New tokens": 5})
    expect(page.locator("#strip .first")).to_have_text("<|endoftext|>")


def test_a_bad_request_is_told_and_loses_nothing(visit):
    page = visit()
    generate(page, "Hello", settings={"New tokens": 5})
    before = completion(page)
    page.get_by_label("Prompt", exact=True).fill("x" * 20_001)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_text("the limit is 20,000").first).to_be_visible()
    assert len(page.get_by_label("Prompt", exact=True).input_value()) == 20_001
    assert before
    assert completion(page) == before
    assert drawn(page).count() == 5
    page.get_by_label("Prompt", exact=True).fill("word " * 70_000)
    expect(page.locator("#count")).to_contain_text("350,000 characters; the limit is 20,000")
    generate(page, "Hello", settings={"New tokens": 5})
    assert completion(page) == before


def test_a_random_seed_is_written_back_and_repeats_the_text(visit):
    page = visit()
    set_numbers(page, LIVELY)
    page.get_by_label("New random seed each time").check()
    generate(page, "Hello world")
    seed = page.get_by_label("Seed", exact=True).input_value()
    assert seed != "0"
    expect(status(page)).to_contain_text(f"seed {seed} ")
    text = completion(page)
    page.get_by_label("New random seed each time").uncheck()
    generate(page, "Hello world")
    expect(status(page)).to_contain_text(f"seed {seed} ")
    assert completion(page) == text


def test_examples_fill_the_inputs_and_run_nothing(visit, page_server):
    page = visit()
    before = len(page_server.steps())
    page.get_by_text("The city of Vienna is", exact=True).click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("The city of Vienna is")
    page.get_by_role("tab", name="Classify").click()
    page.get_by_text(re.compile("^Peace talks resume")).first.click()
    expect(page.get_by_label("News text")).to_have_value(re.compile("^Peace talks resume"))
    assert len(page_server.steps()) == before


# --- classify --------------------------------------------------------------------------------


def test_classify_shows_a_topic_and_four_bars(visit, engine):
    page = visit()
    classify(page, "Oil prices climb")
    verdict = engine.inspector.classify("Oil prices climb")
    expect(page.locator("#verdict .headline")).to_contain_text(verdict.label)
    alt = page.locator("#classes img").get_attribute("alt")
    assert all(label in alt for label in verdict.labels)
    assert page.locator("#reading .read").count() == len(verdict.ids)
    page.get_by_role("button", name="When did it decide?").click()
    expect(page.locator("#over-text img")).to_be_visible()
    open_attention(page, "classify")


def test_an_empty_news_text_is_told(visit):
    page = visit()
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.get_by_text("the news text is empty").first).to_be_visible()


# --- safety ----------------------------------------------------------------------------------


def test_text_is_never_run(visit):
    page = visit()
    text = " ".join(HOSTILE)
    set_numbers(page, {"New tokens": 3})
    page.get_by_label("Stop text").fill(HOSTILE[0])
    for hostile in HOSTILE[:5]:
        generate(page, hostile)
        for place in range(3 if hostile == HOSTILE[0] else 1):
            tokens(page).nth(place).click()
        expect(page.locator("#token")).to_contain_text(", in the prompt")
    generate(page, text)
    tokens(page).first.click()
    open_attention(page, "generate")
    for first in range(0, len(HOSTILE), 2):  # all together are longer than this classifier reads
        classify(page, " ".join(HOSTILE[first : first + 2]))
        expect(page.locator("#reading .strip")).to_contain_text(HOSTILE[first])
        assert page.locator("#reading img, #reading script, #reading iframe").count() == 0
    assert page.evaluate("window.__x") is None
    assert page.locator("#strip img, #strip script").count() == 0


def test_two_visitors_do_not_meet(visit, page_server):
    first, second = visit(apart=True), visit(apart=True)
    set_numbers(first, {**LIVELY, "Seed": 1})
    set_numbers(second, {**LIVELY, "Seed": 2})
    generate(first, "Hello world")
    alone = completion(first)
    with page_server.slowed(0.05):
        generate(first, "Hello world", wait=False)
        generate(second, "Another prompt", wait=False)
        for page in (first, second):
            expect(status(page)).to_contain_text("stopped: length")
    assert completion(first) == alone != completion(second)
    first_word = first.locator("#strip .first").inner_text()
    assert (first_word, second.locator("#strip .first").inner_text()) == ("Hello", "Another")
    drawn(second).nth(4).click()
    expect(second.locator("#token")).to_contain_text("Token 6 ")
    drawn(first).nth(7).click()
    expect(first.locator("#token")).to_contain_text("Token 9 ")
    expect(second.locator("#token")).to_contain_text("Token 6 ")


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://192.0.2.1/", "http://[2001:db8::1]"]
)
def test_this_browser_can_reach_nobody_but_the_page(browser, url):
    """Else the tests could pass on what only a network brings."""
    with browser.new_context() as context, pytest.raises(Exception, match="NAME_NOT_RESOLVED"):
        context.new_page().goto(url)


# --- form ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen_and_all_is_named(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 850}, color_scheme=scheme)
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")
    generate(page, "Hello world", settings=LIVELY)
    open_attention(page, "generate")
    expect(page.locator("#generate-heads img")).to_be_visible()
    for title, picture in INSIDE.items():
        page.get_by_role("button", name=title).first.click()
        expect(page.locator(f"{picture} img")).to_be_visible()
    page.locator("#alternatives [data-choice]").first.click()
    expect(page.locator("#tree .compare")).to_be_visible()
    assert_form(page)
    classify(page, "Oil prices climb ahead of the storm")
    page.get_by_role("button", name="When did it decide?").click()
    expect(page.locator("#over-text img")).to_be_visible()
    assert_form(page)


def test_a_heading_is_written_in_one_font(visit):
    page = visit()
    browser = page.context.new_cdp_session(page)
    for domain in ("DOM", "CSS"):
        browser.send(f"{domain}.enable")
    root = browser.send("DOM.getDocument")["root"]["nodeId"]
    for selector in ("h1", "button.primary"):
        found = browser.send("DOM.querySelector", {"nodeId": root, "selector": selector})
        fonts = browser.send("CSS.getPlatformFontsForNode", {"nodeId": found["nodeId"]})["fonts"]
        assert [font["familyName"] for font in fonts] == ["Source Sans 3"], selector


INSIDE = {
    "Logit lens": "#lens-ranks",
    "Switch heads off": "#switch-map",
    "Why this token?": "#generate-why-bars",
    "Is this picture true?": "#generate-true-curves",
}


def assert_form(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("h1").count() == 1
    wide = page.evaluate(
        """() => [...document.querySelectorAll('#page img, #page button, #page input, #page p')]
            .filter(e => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert wide == []
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('input, textarea, select')]
            .filter(e => e.offsetParent && e.type !== 'file')
            .filter(e => !(e.labels && e.labels.length && e.labels[0].innerText.trim())
                && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby'))
            .map(e => e.outerHTML.slice(0, 160))"""
    )
    assert unnamed == []
    speechless = page.evaluate(
        """() => [...document.querySelectorAll('img')]
            .filter(e => e.offsetParent && (e.getAttribute('alt') || '').trim().length < 3)
            .map(e => e.outerHTML.slice(0, 160))"""
    )
    assert speechless == []


# --- several models --------------------------------------------------------------------------


def test_another_model_picked_while_one_writes_disturbs_nothing(visit, page_server):
    page = visit()
    generate(page, "The first", settings={"New tokens": 20})
    before = page.get_by_label("Completion", exact=True).input_value()
    with page_server.slowed(0.2):
        generate(page, "The first", wait=False)
        expect(drawn(page).nth(2)).to_be_visible()
        pick_model(page, "other")
        expect(page.get_by_text("2 of 48 tokens")).to_be_visible()
    expect(status(page)).to_contain_text("tiny · stopped: length")
    assert page.get_by_label("Completion", exact=True).input_value() == before
    open_attention(page, "generate")
    expect(page.locator("#generate-heads img")).to_have_attribute("alt", re.compile("2 heads"))
    generate(page, "The first")
    expect(status(page)).to_contain_text("other · stopped: length")
    assert page.get_by_label("Completion", exact=True).input_value() != before
    expect(page.locator("#generate-heads img")).to_have_attribute("alt", re.compile("4 heads"))


def test_a_model_that_cannot_be_loaded_says_why_and_leaves_the_others(visit):
    page = visit()
    pick_model(page, "broken")
    expect(page.get_by_text("model.safetensors is damaged")).to_be_visible()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#status")).to_contain_text("model.safetensors is damaged")
    pick_model(page, "other")
    generate(page, "On", settings={"New tokens": 4})
    expect(status(page)).to_contain_text("4 tokens")


# --- as the README does ----------------------------------------------------------------------


def test_what_ships_works_as_the_readme_starts_it(visit, starter):
    """python app.py, and through the page once."""
    for name in ("mini", "mini-agnews"):
        if not (ROOT / "checkpoints" / name / "model.safetensors").is_file():
            pytest.skip(f"checkpoints/{name} has no weights")
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port)]
    with starter.start(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == f"Open http://127.0.0.1:{port}/\n"
            page = visit(f"http://127.0.0.1:{port}/", apart=True)
            generate(page, "The president said on Tuesday that", wait=False)
            expect(drawn(page).nth(3)).to_be_visible()
            page.get_by_role("button", name="Stop", exact=True).click()
            expect(status(page)).to_contain_text(re.compile("stopped: "))
            expect(page.locator("#bars img")).to_be_visible()
            drawn(page).nth(1).click()
            expect(page.locator("#token")).to_contain_text("Token 7 ")
            open_attention(page, "generate")
            expect(page.locator("#generate-heads img")).to_be_visible()
            classify(page, "The striker scored twice in the last ten minutes of the final.")
            expect(page.locator("#verdict .headline")).to_contain_text("Sports")
            page.context.close()  # before its server goes
        finally:
            process.send_signal(signal.SIGINT)
