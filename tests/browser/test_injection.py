"""Strangers' words in a real browser: none runs, none leads anywhere; what would run is refused."""

import json
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from conftest import visits
from links import pack_link
from programs import free_port
from steps import classify, expect, generate, settled, show

pytestmark = pytest.mark.browser

RUN = "window.__x=1"
NAME = f"<img src=x onerror={RUN}>${{{RUN}}}{{{{{RUN}}}}}"  # a directory's, so without a slash
LABELS = (
    f"<img src=x onerror={RUN}>",
    f"</script><script>{RUN}</script>",
    f'"onmouseover="{RUN}',
    f"${{{RUN}}}",
)
# Each would run in a page without a policy, wherever it got into it.
WOULD_RUN = (
    f'<img src="x" onerror="{RUN}">',
    f"<svg onload={RUN}></svg>",
    f'<iframe srcdoc="<script>parent.{RUN.removeprefix("window.")}</script>"></iframe>',
    f"<details open ontoggle={RUN}></details>",
    f'<object data="data:text/html,<script>{RUN}</script>"></object>',
)
NEWS = "Oil prices climb ahead of the storm"


@pytest.fixture(scope="module")
def hostile_page(starter, tmp_path_factory, root, model_directory, classifier_directory):
    """The address of a page whose model has a hostile name, and its classifier such labels."""
    directory = tmp_path_factory.mktemp("hostile")
    model, classifier = directory / NAME, directory / f"news {NAME}"
    shutil.copytree(model_directory, model)
    shutil.copytree(classifier_directory, classifier)
    config = json.loads((classifier / "config.json").read_text())
    config["id2label"] = {str(index): label for index, label in enumerate(LABELS)}
    config["label2id"] = {label: index for index, label in enumerate(LABELS)}
    (classifier / "config.json").write_text(json.dumps(config))
    (directory / "pause").write_text("0")
    (directory / "steps").write_text("")
    command = [sys.executable, root / "tests" / "page_server.py", model, classifier, directory]
    with (
        open(directory / "log", "w") as log,
        starter.start(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        end = time.monotonic() + 90
        while not (directory / "url").exists():
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield (directory / "url").read_text()
        process.kill()


@contextmanager
def at(browser, url, home=None):
    """A page of its own, at an address; nothing may have run in it when it is left."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        with visits(browser, context, home or url) as visit:
            visit.forgiven = "Content Security Policy"
            page = visit(url)
            yield page
            assert page.evaluate("window.__x") is None
    finally:
        context.close()


def test_names_and_labels_are_never_run(hostile_page, browser):
    with at(browser, hostile_page) as page:
        expect(page.locator("#head")).to_contain_text(NAME)
        generate(page, f"{NAME} {LABELS[1]}", settings={"New tokens": 4})
        for title in ("Attention", "Layers", "Switch off", "Why", "Score"):
            show(page, title)
        classify(page, f"{LABELS[0]} {NEWS}")
        for title in ("When did it decide", "Attention", "Why", "Many texts"):
            view = show(page, title, "classify")
        expect(view).to_contain_text("onerror=")
        shown = page.locator(".strip, .slot, #head, .legend")
        assert shown.locator("img, script, iframe").count() == 0
        for one in page.locator("[onmouseover], [onerror], [onload]").all():
            pytest.fail(one.evaluate("e => e.outerHTML"))


@pytest.mark.parametrize(
    "state",
    [
        f"#{NAME}",
        f"#v=1.generate.{NAME}",
        f"?__theme={NAME}",
        f"?view={NAME}#v=1.{NAME}",
        pack_link("generate", {"a": [NAME] * 4, "m": NAME, "p": NAME, "s": [], "x": NAME, "l": {}}),
        pack_link("generate", {"a": ["a"] * 4, "m": NAME, "p": NAME, "s": [3, 1, 0, 1, 0, 1, 0],
                               "x": LABELS[1], "c": [], "l": {"view": NAME, "kind": NAME}}),
        pack_link("classify", {"a": ["a"] * 4, "m": LABELS[1], "p": NAME, "l": {"many": NAME}}),
    ],
)  # fmt: skip
def test_what_an_address_holds_is_never_run(page_server, browser, state):
    """Also where it is told what is wrong with it."""
    with at(browser, page_server.url + state, page_server.url) as page:
        page.wait_for_function("gpt2.open_stage()?.text || document.querySelector('[role=alert]')")
        page.wait_for_timeout(300)
        assert page.locator(".strip, .slot").locator("img, script, iframe").count() == 0


def test_what_got_into_the_page_would_not_run_and_could_not_speak(page_server, browser):
    """If all else fails: the Content-Security-Policy."""
    with at(browser, page_server.url) as page:
        page.evaluate("window.seen = []; document.addEventListener('securitypolicyviolation', "
                      "event => window.seen.push(event.effectiveDirective))")  # fmt: skip
        page.evaluate(
            "all => document.body.insertAdjacentHTML('beforeend', all)", "".join(WOULD_RUN)
        )
        page.evaluate(
            """code => {
                const script = document.createElement("script");
                script.textContent = code;
                document.body.append(script);
                const link = document.createElement("a");
                link.href = `javascript:${code}`;
                document.body.append(link);
                link.click();
            }""",
            RUN,
        )
        page.wait_for_timeout(500)
        assert page.evaluate("window.__x") is None
        tried = page.evaluate(
            """async url => {
                const failed = (what) => what.then(() => "went", () => "kept");
                const image = new Image();
                const drawn = new Promise((yes, no) => { image.onload = yes; image.onerror = no; });
                image.src = `${url}a.png?stolen`;
                return {
                    fetch: await failed(fetch(url, { mode: "no-cors" })),
                    image: await failed(drawn),
                    beacon: navigator.sendBeacon(url, "stolen") ? "sent" : "kept",
                    script: await failed(import(`${url}a.js`)),
                };
            }""",
            "http://127.0.0.2:9/",
        )
        assert {tried["fetch"], tried["image"], tried["script"]} == {"kept"}
        wanted = {"script-src-attr", "script-src-elem", "connect-src", "img-src", "object-src"}
        assert wanted <= {*page.evaluate("window.seen")}


def test_who_signs_in_gets_the_page_and_can_use_it(
    browser, starter, root, model_directory, classifier_directory, tmp_path
):
    port = free_port()
    flags = ("--model", model_directory, "--classifier", classifier_directory, "--port", port)
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, root / "app.py", *flags, "--auth", "ann:secret word"]
    pipe = subprocess.PIPE
    with starter.start(command, cwd=tmp_path, stdout=pipe, stderr=pipe) as process:
        assert process.stdout.readline() == f"Open {url}\n"
        page = browser.new_page()
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(url)
        for password in ("wrong", "secret word"):
            page.get_by_label("Name").fill("ann")
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Sign in").click()
            if password == "wrong":
                expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
        page.get_by_role("button", name="Generate", exact=True).wait_for()
        generate(page, "Hello world", settings={"New tokens": 4})
        settled(page)
        assert [words for words in said if "401" not in words] == []
        page.close()
        process.kill()
