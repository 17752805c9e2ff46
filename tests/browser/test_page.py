"""The page as a whole: what it shows at each width, in both themes, to every reader."""

import re
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from programs import free_port
from steps import (
    LIVELY,
    classify,
    drawn,
    expect,
    generate,
    picture,
    said,
    selected,
    set_numbers,
    settled,
    show,
    status,
    tokens,
)

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
VIEWS = {
    "generate": ("Next token", "Attention", "Layers", "Switch off", "Why", "Score"),
    "classify": ("When did it decide", "Attention", "Why", "Many texts"),
}
NEWS = "Oil prices climb ahead of the storm"
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


def both_texts(page):
    """A text on each of the two stages, the first one open."""
    generate(page, "Hello world", settings=LIVELY)
    classify(page, NEWS)
    page.get_by_role("tab", name="Generate", exact=True).click()
    settled(page)


def every_view(page):
    """Open each view in turn: the tab and the view's title."""
    for tab, titles in VIEWS.items():
        page.get_by_role("tab", name=tab.title(), exact=True).click()
        for title in titles:
            show(page, title, tab)
            yield tab, title


# --- one screen ------------------------------------------------------------------------------


def test_text_token_and_view_are_on_one_screen(visit):
    page = visit()
    both_texts(page)
    page.get_by_role("tab", name="Generate", exact=True).click()
    drawn(page).nth(4).click()
    for tab, title in every_view(page):
        panel = page.locator(f"#{tab}-inspector").get_by_role("tabpanel", name=title, exact=True)
        inside = panel.locator("figure svg, textarea").first
        marked = page.locator(f"#{tab}-text [aria-selected=true]")
        for part in (panel, inside, marked):
            box = part.bounding_box()
            assert box["y"] >= 0, (title, box)
            assert box["y"] + box["height"] <= 900, (title, box)
        assert page.evaluate("scrollY") == 0


def test_the_mark_and_the_views_follow_each_other(visit):
    """A token picked left changes the view right, in every view; a picture picks tokens too."""
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    for number, title in enumerate(VIEWS["generate"], start=1):
        page.keyboard.press(str(number))
        settled(page)
        expect(page.get_by_role("tab", name=title, exact=True)).to_have_attribute(
            "aria-selected", "true"
        )
        page.keyboard.press("ArrowRight")
        settled(page)
        assert selected(page) == 2 + number
        assert page.evaluate("gpt2.stages.generate.look.token") == 2 + number


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (390, "dark"),
        (768, "light"),
        (1280, "dark"),
        pytest.param(1920, "light", marks=pytest.mark.soak),
    ],
)
def test_nothing_is_wider_than_the_screen_and_all_is_named(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")
    both_texts(page)
    for tab, title in every_view(page):
        assert_form(page, f"{tab}, {title}")


def assert_form(page, where):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
    assert page.locator("h1").count() == 1
    wide = page.evaluate(
        """() => [...document.querySelectorAll('#page svg, #page button, #page input, #page p')]
            .filter(e => e.offsetParent !== null || e.tagName === 'svg')
            .filter(e => !e.closest('.views, .chips') && e.getBoundingClientRect().width)
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert wide == [], where
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('input, textarea, select')]
            .filter(e => e.offsetParent && e.type !== 'file')
            .filter(e => !(e.labels && e.labels.length && e.labels[0].innerText.trim())
                && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby'))
            .map(e => e.outerHTML.slice(0, 160))"""
    )
    assert unnamed == [], where
    speechless = page.evaluate(
        """() => [...document.querySelectorAll('#page figure svg, #page img')]
            .filter(e => e.getBoundingClientRect().width)
            .filter(e => (e.ariaLabel || e.alt || '').trim().length < 3)
            .map(e => e.outerHTML.slice(0, 160))"""
    )
    assert speechless == [], where
    small = page.evaluate(
        """() => [...document.querySelectorAll('#page button, #page input, #page select')]
            .filter(e => e.offsetParent && !e.closest('.visually-hidden'))
            .filter(e => !['radio', 'checkbox', 'range'].includes(e.type))
            .map(e => [e.getBoundingClientRect(), e.outerHTML.slice(0, 120)])
            .filter(([box]) => box.width < 24 || box.height < 24).map(([, html]) => html)"""
    )
    assert small == [], where
    if page.viewport_size["width"] < 600:  # iOS zooms into smaller ones
        sizes = page.evaluate(
            """() => [...document.querySelectorAll('#page textarea, #page input[type=text]')]
                .filter(e => e.offsetParent).map(e => parseFloat(getComputedStyle(e).fontSize))"""
        )
        assert min(sizes) >= 16, where


def test_two_lines_of_the_text_stay_on_top_of_a_phone(visit):
    page = visit(viewport={"width": 390, "height": 844})
    generate(page, "Hello world", settings={**LIVELY, "New tokens": 40})
    strip = page.locator("#strip")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(strip).to_have_class(re.compile("stuck"))
    box = strip.bounding_box()
    assert box["y"] == 0
    assert 40 < box["height"] < 90
    marked = page.locator("#strip [aria-selected=true]").bounding_box()
    assert 0 <= marked["y"] < box["height"]
    tall = page.evaluate("document.documentElement.scrollHeight")
    page.evaluate("scrollTo(0, 0)")
    expect(strip).not_to_have_class(re.compile("stuck"))
    assert page.evaluate("document.documentElement.scrollHeight") == tall  # nothing jumps


def test_nothing_jumps_while_a_text_is_written(visit, page_server):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    page.evaluate(
        """() => { window.shifts = 0; new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.shifts += entry.value;
        }).observe({ type: 'layout-shift' }); }"""
    )
    with page_server.slowed(0.02):
        generate(page, "Hello world", settings={"New tokens": 50})
    page.wait_for_timeout(500)
    assert page.evaluate("shifts") < 0.05


# --- every reader ----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_view(visit, scheme):
    page = visit(color_scheme=scheme)
    both_texts(page)
    set_numbers(page, {"Seed": 1})  # opens the settings
    found = []
    for tab, title in every_view(page):
        # What stands beside the views is looked at once.
        part = "document" if title == VIEWS[tab][0] else f"'#{tab}-inspector'"
        found += [(tab, title, *finding) for finding in serious(page, part)]
    assert found == []


def serious(page, part="document"):
    """What axe finds that is serious or critical: its rule, and the first place."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate(f"axe.run({part}, {{ resultTypes: ['violations'] }})")
    return [
        (finding["id"], finding["nodes"][0]["html"][:200])
        for finding in found["violations"]
        if finding["impact"] in ("serious", "critical")
    ]


def test_every_view_is_reached_and_read_by_keyboard_alone(visit):
    """From the prompt on, with Tab, arrows and Enter; heat maps say their cells."""
    page = visit()
    page.get_by_label("Prompt", exact=True).focus()
    page.keyboard.type("Hello world")
    page.keyboard.press("Tab")
    assert focused(page) == "Repetition"  # the presets: one stop
    page.keyboard.press("Tab")
    assert focused(page) == "Generate"
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("stopped:")
    settled(page)
    tab_until(page, "document.activeElement.closest('#strip') !== null")
    page.keyboard.press("ArrowRight")
    tab_until(
        page, "document.activeElement.role === 'tab' && !!document.activeElement.dataset.view"
    )
    for title in VIEWS["generate"]:
        assert focused(page) == title
        settled(page)
        cells = page.get_by_role("tabpanel", name=title, exact=True).locator("[role=gridcell]")
        for number in range(cells.count()):
            cells.nth(number).focus()
            heard = {cells.nth(number).get_attribute("aria-label")}
            for key in ("ArrowUp", "ArrowLeft", "ArrowDown", "ArrowRight", "Home", "End"):
                page.keyboard.press(key)
                heard.add(cells.nth(number).get_attribute("aria-label"))
            assert all(len(words) > 3 for words in heard), (title, heard)
            assert len(heard) > 1, (title, heard)
        page.locator(f"#generate-inspector [role=tab]:has-text('{title}')").focus()
        page.keyboard.press("ArrowRight")
    assert focused(page) == "Next token"  # round


def focused(page):
    return page.evaluate("document.activeElement.innerText.trim()")


def tab_until(page, condition, *, most=40):
    for _ in range(most):
        if page.evaluate(condition):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"not reached in {most} steps of the Tab key: {condition}")


def test_the_system_may_turn_dark_while_a_text_stands(visit):
    """It left black on black."""
    page = visit(color_scheme="light")
    generate(page, "Hello world", settings=LIVELY)
    show(page, "Switch off")
    before = said(page, "off"), ink(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.body.classList.contains('dark')")
    page.wait_for_function("document.getAnimations().every(a => a.playState !== 'running')")
    assert said(page, "off") == before[0]
    assert drawn(page).count() == 20
    assert sum(before[1]) < 300 < 500 < sum(ink(page))
    assert serious(page) == []


def ink(page):
    """The colour that the picture's words have, red, green and blue."""
    color = page.locator("#off svg text").first.evaluate("e => getComputedStyle(e).fill")
    return [int(part) for part in re.findall(r"\d+", color)[:3]]


def test_a_heading_is_written_in_one_font(visit):
    page = visit()
    browser = page.context.new_cdp_session(page)
    for domain in ("DOM", "CSS"):
        browser.send(f"{domain}.enable")
    root = browser.send("DOM.getDocument")["root"]["nodeId"]
    for selector in ("#page h1", "button.primary"):
        found = browser.send("DOM.querySelector", {"nodeId": root, "selector": selector})
        fonts = browser.send("CSS.getPlatformFontsForNode", {"nodeId": found["nodeId"]})["fonts"]
        assert [font["familyName"] for font in fonts] == ["Source Sans 3"], selector


def test_the_footer_leads_to_the_api_on_a_phone_too(visit):
    page = visit(viewport={"width": 390, "height": 844})
    expect(page.get_by_role("button", name="Use via API")).to_be_visible()


# --- classify --------------------------------------------------------------------------------


def test_classify_shows_a_topic_and_four_bars(visit, engine):
    page = visit()
    classify(page, "Oil prices climb")
    verdict = engine.inspector.classify("Oil prices climb")
    expect(page.locator(".headline")).to_contain_text(verdict.label)
    alt = said(page, "topics")
    assert all(label in alt for label in verdict.labels)
    assert page.locator("#classify-strip [role=option]").count() == len(verdict.ids)
    expect(picture(page, "decided-lines")).to_be_visible()


def test_an_empty_news_text_is_told_once(visit):
    page = visit()
    page.get_by_role("tab", name="Classify", exact=True).click()
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.get_by_text("the news text is empty")).to_have_count(1)
    assert page.locator(".toast-body").count() == 0


# --- safety ----------------------------------------------------------------------------------


def test_text_is_never_run(visit):
    page = visit()
    set_numbers(page, {"New tokens": 3})
    page.get_by_label("Stop text").fill(HOSTILE[0])
    for hostile in HOSTILE[:5]:
        generate(page, hostile)
        for place in range(3 if hostile == HOSTILE[0] else 1):
            tokens(page).nth(place).click()
        expect(page.locator("#token")).to_contain_text(", in the prompt")
    generate(page, " ".join(HOSTILE))
    for title in VIEWS["generate"]:
        show(page, title)
    for first in range(0, len(HOSTILE), 2):  # all together are longer than this classifier reads
        classify(page, " ".join(HOSTILE[first : first + 2]))
        expect(page.locator("#classify-strip")).to_contain_text(HOSTILE[first])
    for title in VIEWS["classify"]:
        show(page, title, "classify")
    assert page.evaluate("window.__x") is None
    inside = page.locator(".strip, .slot")
    assert inside.locator("img, script, iframe, style, a").count() == 0


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://192.0.2.1/", "http://[2001:db8::1]"]
)
def test_this_browser_can_reach_nobody_but_the_page(browser, url):
    """Else the tests could pass on what only a network brings."""
    with browser.new_context() as context, pytest.raises(Exception, match="NAME_NOT_RESOLVED"):
        context.new_page().goto(url)


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
            expect(picture(page, "bars")).to_be_visible()
            drawn(page).nth(1).click()
            expect(page.locator("#token")).to_contain_text("Token 7 ")
            show(page, "Attention")
            classify(page, "The striker scored twice in the last ten minutes of the final.")
            expect(page.locator(".headline")).to_contain_text("Sports")
            page.context.close()  # before its server goes
        finally:
            process.send_signal(signal.SIGINT)
