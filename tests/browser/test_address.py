"""The address holds the view: a link, over a reload or a restart of the server, in a frame."""

import base64
import json
import random
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from links import any_link, mutant, wild, write_link
from playwright.sync_api import expect
from programs import free_port
from test_frames import framed

from gpt2.ui.link import read_link

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
WAIT = {"timeout": 30_000}
STRIP = "gpt2.stages.generate"
HEARS = "navigator.clipboard.writeText = async (text) => { window.copied = text; };"
NO_CLIPBOARD = "() => { navigator.clipboard.writeText = async () => { throw new Error('no'); }; }"
NO_STORAGE = """Object.defineProperty(window, "sessionStorage",
    { get() { throw new DOMException("no", "SecurityError"); } });"""


@pytest.fixture
def someone(browser, page_server):
    """someone(url, *scripts): a page of another visitor; no script of it may fail."""
    contexts, errors = [], []

    def opened(url=page_server.url, *scripts):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        for script in scripts:
            context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.locator(".buttons button:visible").first.wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def start(page):
    return page.get_by_role("button", name="Generate", exact=True)


def prompt(page):
    return page.get_by_label("Prompt", exact=True)


def write(page, words="The president said"):
    """Have a text written, and its address."""
    prompt(page).fill(words)
    start(page).click()
    page.wait_for_function(
        f"words => {STRIP}.text?.prompt === words && !{STRIP}.writing", arg=words
    )
    expect(page.locator("#status")).to_contain_text("stopped:", **WAIT)
    return settled(page)


def settled(page):
    """The address once it has followed."""
    page.wait_for_timeout(500)
    return page.url


def ids(page):
    return page.evaluate(f"{STRIP}.text.ids")


def selected(page):
    return page.locator("#strip [aria-selected=true]").get_attribute("data-index")


def settings(page):
    section = page.get_by_role("button", name=re.compile("^Settings:"))
    if not page.get_by_label("Seed", exact=True).is_visible():
        section.click()
    return section


def set_number(page, label, value):
    settings(page)
    field = page.get_by_label(label, exact=True)
    expect(field).to_be_visible()
    field.fill(str(value))
    field.press("Tab")


# --- a link ----------------------------------------------------------------------------------


def test_what_the_page_writes_python_reads(someone, engine):
    page, rng = someone(), random.Random(5)
    links = [any_link(rng, engine) for _ in range(200)]
    stages = []
    for link in links:
        settings = vars(link.request.sampling) | {"max_new_tokens": link.request.max_new_tokens}
        text = {"prompt": link.request.prompt, "model": link.request.model, "proof": link.proof}
        text |= vars(link.made) | {"chosen": link.chosen, "settings": settings}
        settings["stop"] = link.request.stop
        stages.append({"tab": link.tab, "text": text, "look": link.look})
    written = page.evaluate(
        "stages => Promise.all(stages.map((stage) => packed_link(state_of(stage))))", stages
    )
    for link, fragment in zip(links, written, strict=True):
        assert read_link(fragment, engine) == link


def test_another_visitor_sees_the_same_and_is_told_so(someone):
    page = someone()
    set_number(page, "number input for New tokens", 20)
    set_number(page, "Seed", 7)
    write(page, "It's a test,\nof 漢字 and 🙂")
    for _ in range(3):
        page.locator("#strip [aria-selected=true]").press("ArrowRight")
    url = settled(page)
    assert len(url) < 500
    other = someone(url)
    expect(other.locator("#status")).to_contain_text("the same 20 tokens as the author's", **WAIT)
    assert ids(other) == ids(page)
    assert selected(other) == selected(page)
    assert other.evaluate(f"{STRIP}.look.view") == page.evaluate(f"{STRIP}.look.view")
    expect(prompt(other)).to_have_value("It's a test,\nof 漢字 and 🙂")
    expect(settings(other)).to_contain_text("20 tokens · seed 7", **WAIT)
    assert settled(other) == url


def test_a_branch_and_another_view_travel(someone):
    page = someone()
    write(page)
    page.evaluate(f"{STRIP}.show('attention')")
    page.evaluate(f"{STRIP}.set({{ layer: 1, head: 1, parts: [['head', 0, 1, 0]] }})")
    page.evaluate(f"{STRIP}.pick({STRIP}.text.prompt_length + 4)")
    page.evaluate(f"{STRIP}.branches.go_on({{ ids: [262] }})")
    page.wait_for_function(f"{STRIP}.text.chosen.length === 1 && !{STRIP}.writing")
    other = someone(settled(page))
    expect(other.locator("#status")).to_contain_text("as the author's", **WAIT)
    assert ids(other) == ids(page)
    assert other.evaluate(f"{STRIP}.text.chosen") == page.evaluate(f"{STRIP}.text.chosen")
    for name in ("view", "layer", "head", "parts", "token"):
        assert other.evaluate(f"{STRIP}.look.{name}") == page.evaluate(f"{STRIP}.look.{name}")
    expect(other.locator("#generate-tab-attention")).to_have_attribute("aria-selected", "true")


def test_a_news_text_travels(someone):
    page = someone()
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("textbox", name="News text").fill("Oil prices climb as refineries shut down")
    page.get_by_role("button", name="Classify", exact=True).click()
    page.wait_for_function("gpt2.stages.classify?.text?.status")
    page.evaluate("gpt2.stages.classify.show('why')")
    page.evaluate("gpt2.stages.classify.pick(2)")
    other = someone(settled(page))
    expect(other.locator("#classify-status")).to_contain_text("as the author's", **WAIT)
    expect(other.get_by_role("textbox", name="News text")).to_have_value(
        "Oil prices climb as refineries shut down"
    )
    for name in ("view", "token"):
        assert other.evaluate(f"gpt2.stages.classify.look.{name}") == page.evaluate(
            f"gpt2.stages.classify.look.{name}"
        )
    expect(other.locator("#classify-tab-why")).to_have_attribute("aria-selected", "true")
    write_here = other.get_by_role("tab", name="Generate")
    write_here.click()
    write(other)
    other.go_back()
    expect(other.get_by_role("textbox", name="News text")).to_be_visible(**WAIT)


def test_a_link_of_another_machine_says_where_the_texts_part(someone, page_server, engine):
    page = someone()
    link = read_link("#" + write(page).partition("#")[2], engine)
    turned = ["A" if link.proof[9] != "A" else "B"]
    other = vars(link) | {"proof": "".join([*link.proof[:9], *turned, *link.proof[10:]])}
    other["made"] = type(link.made)(**vars(link.made) | {"dtype": "bfloat16"})
    opened = someone(page_server.url + write_link(type(link)(**other)))
    place = page.evaluate(f"{STRIP}.text.prompt_length") + 9
    expect(opened.locator("#status")).to_contain_text(
        f"differs from token {place} on: bfloat16 there, float32 here", **WAIT
    )


def test_a_text_that_was_stopped_ends_there_for_others(someone, page_server):
    page = someone()
    with page_server.slowed(0.1):
        prompt(page).fill("Hello")
        start(page).click()
        page.wait_for_function(f"{STRIP}.text?.drawn.length > 4")
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.locator("#status")).to_contain_text("stopped: by you", **WAIT)
    other = someone(settled(page))
    expect(other.locator("#status")).to_contain_text("where the link's text ended", **WAIT)
    expect(other.locator("#status")).to_contain_text("tokens as the author's")
    assert ids(other) == ids(page)


def test_forty_mutants_are_refused_in_a_sentence_or_are_pages(someone, engine):
    page, rng = someone(), random.Random(6)
    write(page)
    page.evaluate("window.refusals = []")
    good = page.evaluate("location.hash")
    for n in range(40):
        changed = mutant(rng, good) if n % 2 else wild(rng, write_link(any_link(rng, engine)))
        before = page.evaluate("location.hash")
        page.evaluate("hash => { location.hash = hash; }", changed)
        page.wait_for_timeout(60)
        page.wait_for_function(f"!{STRIP}.writing")
        if "refused" in (page.locator("#status").get_attribute("class") or ""):
            words = page.locator("#status").inner_text()
            assert 20 < len(words) < 400, (before, changed)
    write(page, "It goes on")
    assert "gpt2" in page.evaluate("Object.keys({ gpt2 })")


def test_a_changed_link_says_so_on_an_empty_page(someone):
    page = someone()
    url = write(page)
    other = someone(url[:-9])
    expect(other.locator("#status")).to_contain_text("cut short or was changed", **WAIT)
    write(other, "It is well")


# --- what stays ------------------------------------------------------------------------------


def test_back_and_forward_walk_the_texts(someone):
    page = someone()
    first = write(page, "One")
    second = write(page, "Two")
    assert first != second
    page.go_back()
    page.wait_for_function(f"{STRIP}.text.prompt === 'One' && !{STRIP}.writing")
    expect(prompt(page)).to_have_value("One")
    assert settled(page) == first
    page.go_forward()
    page.wait_for_function(f"{STRIP}.text.prompt === 'Two' && !{STRIP}.writing")
    assert settled(page) == second


@pytest.mark.parametrize("words", ["Hello", "".join(f" {n * 7919}" for n in range(700))])
def test_a_reload_brings_text_view_and_what_was_not_sent(someone, words):
    page = someone()
    write(page, words)
    page.evaluate(f"{STRIP}.pick({STRIP}.text.ids.length - 2)")
    set_number(page, "Seed", 12)
    prompt(page).fill("Not sent yet")
    settled(page)
    before = ids(page), selected(page)
    if len(words) > 2000:
        assert ".long." in page.url
        expect(page.locator(".copied")).to_contain_text("too long for a link")
        other = someone(page.url)
        expect(other.locator("#status")).to_contain_text("too long for an address", **WAIT)
    page.reload()
    expect(page.locator("#status")).to_contain_text("as the author's", **WAIT)
    assert (ids(page), selected(page)) == before
    expect(prompt(page)).to_have_value("Not sent yet")
    expect(settings(page)).to_contain_text("seed 12", **WAIT)


def test_what_was_typed_stays_without_any_text(someone):
    page = someone()
    prompt(page).press_sequentially(" and more")
    page.wait_for_timeout(300)
    typed = prompt(page).input_value()
    assert typed.endswith(" and more")
    page.reload()
    expect(prompt(page)).to_have_value(typed, **WAIT)


def test_another_theme_loses_nothing(someone):
    page = someone()
    write(page)
    page.evaluate(f"{STRIP}.show('layers')")
    page.evaluate(f"{STRIP}.pick({STRIP}.text.ids.length - 3)")
    prompt(page).fill("Not sent yet")
    settled(page)
    before = ids(page), selected(page)
    page.locator("footer .settings").click()
    page.get_by_text("Dark").first.click()
    page.wait_for_function("document.body?.classList.contains('dark')")
    expect(page.locator("#status")).to_contain_text("as the author's", **WAIT)
    assert (ids(page), selected(page)) == before
    expect(page.get_by_role("tab", name="Layers")).to_have_attribute("aria-selected", "true")
    expect(prompt(page)).to_have_value("Not sent yet")


@pytest.fixture
def program(starter, model_directory, classifier_directory):
    """A server that can be killed and started again at the same address."""

    class Server:
        def __init__(self):
            self.port, self.process = free_port(), None
            self.url = f"http://127.0.0.1:{self.port}"

        def begin(self):
            command = [sys.executable, "app.py", "--model", model_directory, "--port", self.port]
            command += ["--classifier", classifier_directory]
            self.process = starter.start(command, cwd=ROOT, stdout=subprocess.PIPE)
            assert "Open" in self.process.stdout.readline()

        def kill(self):
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    server = Server()
    server.begin()
    yield server
    server.kill()


def test_a_killed_server_loses_nothing_of_an_open_page(someone, program):
    page = someone(program.url)
    write(page)
    page.evaluate(f"{STRIP}.pick({STRIP}.text.ids.length - 3)")
    set_number(page, "Seed", 12)
    prompt(page).fill("Not sent yet")
    url = settled(page)
    before = ids(page), selected(page)
    program.kill()
    program.begin()
    page.locator("#strip [data-index]").nth(-2).click()  # something is asked of the new server
    page.wait_for_timeout(4_000)
    expect(page.locator("#status")).to_contain_text("stopped:", **WAIT)
    assert ids(page) == before[0]
    expect(prompt(page)).to_have_value("Not sent yet")
    expect(settings(page)).to_contain_text("seed 12", **WAIT)
    expect(page.locator("#token, .token").first).to_contain_text("Token", **WAIT)
    other = someone(url)  # and what was sent around leads to the same
    expect(other.locator("#status")).to_contain_text("as the author's", **WAIT)
    assert (ids(other), selected(other)) == before


# --- frames and browsers that forbid ------------------------------------------------------------


def test_a_link_opens_in_a_frame_of_another_origin(someone, browser):
    page = someone()
    url = write(page).replace("127.0.0.1", "page.localhost")
    with framed(url) as outside:
        context = browser.new_context()
        other = context.new_page()
        other.goto(outside)
        inside = other.frame_locator("iframe")
        expect(inside.locator("#status")).to_contain_text("as the author's", **WAIT)
        inside.locator("#strip [data-index]").nth(-1).click()
        other.wait_for_timeout(600)
        frame = other.frames[1]
        assert frame.evaluate("location.hash").startswith("#v=1.generate.")
        assert frame.evaluate("location.href") != url
        context.close()


def test_it_works_where_nothing_may_be_kept(someone):
    page = someone(someone().url, NO_STORAGE)
    url = write(page)
    other = someone(url, NO_STORAGE)
    expect(other.locator("#status")).to_contain_text("as the author's", **WAIT)


# --- copying ---------------------------------------------------------------------------------


def copy(page, name):
    """What a button of the row puts into the clipboard."""
    page.evaluate("window.copied = ''")
    if name not in ("Copy link", "Copy text"):
        page.get_by_text("Copy as", exact=True).click()
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function("window.copied")
    expect(page.locator(".copied")).to_contain_text("copied")
    return page.evaluate("window.copied")


def test_the_link_is_copied_or_shown(someone):
    page = someone(someone().url + "?__theme=dark", HEARS)
    url = write(page).replace("?__theme=dark", "")
    assert copy(page, "Copy link") == url
    assert copy(page, "Copy text") == page.evaluate(
        f"{STRIP}.text.prompt + {STRIP}.text.completion"
    )
    page.evaluate(NO_CLIPBOARD)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_label("To be copied")).to_have_value(url)
    assert page.evaluate("getSelection().toString()") == url


@pytest.mark.parametrize("chosen", [False, True])
def test_what_is_copied_as_a_program_runs(someone, starter, chosen):
    page = someone(someone().url, HEARS)
    set_number(page, "number input for New tokens", 12)
    write(page, "It's \"so\", \\n $HOME `ls` ${1} 漢字🙂\u202e\nand 'on' @")
    if chosen:
        page.evaluate(f"{STRIP}.pick({STRIP}.text.prompt_length + 3)")
        page.evaluate(f"{STRIP}.branches.go_on({{ ids: [262, 1049] }})")
        page.wait_for_function(f"{STRIP}.text.chosen.length === 2 && !{STRIP}.writing")
    completion = page.evaluate(f"{STRIP}.text.completion")
    code = copy(page, "Python")
    assert "\u202e" not in code
    code = code.replace('print(answer["completion"])', 'print(ascii(answer["completion"]))')
    ran = starter.run([sys.executable, "-c", code])
    assert ran.returncode == 0, ran.stderr
    assert eval(ran.stdout.strip().splitlines()[-1]) == completion
    call = json.loads(copy(page, "MCP call"))["params"]
    assert call["arguments"]["prompt"] == page.evaluate(f"{STRIP}.text.prompt")
    assert call["name"] == ("branch" if chosen else "generate")
    if shutil.which("curl") and shutil.which("sh"):
        command = ["sh", "-c", copy(page, "curl")]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        last = [line for line in ran.stdout.splitlines() if line.startswith("data: [")][-1]
        assert json.loads(last.removeprefix("data: "))[0]["completion"] == completion


def test_a_long_text_pasted_into_a_view_stays_behind(someone):
    """It took the text itself out of the address."""
    page = someone()
    write(page)
    page.evaluate(f"{STRIP}.set({{ scored: 'Another text. ' }})")
    assert "Another" in json.dumps(read_in_page(page))
    page.evaluate(f"{STRIP}.set({{ scored: Array.from({{length: 4000}}, Math.random).join() }})")
    link = settled(page)
    assert ".long." not in link
    assert len(link) < 2000


def read_in_page(page):
    """What the address holds, as any reader unpacks it."""
    digits = settled(page).split("#")[1].split(".")[2]
    packed = base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
    return json.loads(zlib.decompress(packed, -15))
