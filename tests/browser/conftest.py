"""A browser that may talk to the page alone, and that no error or warning gets past."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--no-first-run",
    *(f"--disable-{what}" for what in ("gpu", "quic", "sync", "component-update")),
    "--disable-background-networking",
    # No name and no address but those of this machine lead anywhere.
    "--no-proxy-server",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SCREEN = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="module")
def browser():
    """Chromium, for a module; while it runs, its thread has an event loop going."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).is_file():
        pytest.skip("Chromium is not installed; CHROMIUM can name it")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def visitor(browser):
    """A browser's profile that tests may share: what it has fetched once stays in its cache."""
    context = browser.new_context(**SCREEN)
    yield context
    context.close()


@pytest.fixture
def visit(browser, visitor, page_server):
    """visit(url, apart=False, **context options): a page, which the test's end looks back on.

    A page that is apart, or that has options, is a visitor's of its own: another profile. What the
    end would complain of is forgiven where it holds `visit.forgiven`.
    """
    with visits(browser, visitor, page_server.url) as open_page:
        yield open_page


@pytest.fixture(scope="module")
def visit_once(browser, visitor, page_server):
    """The same for pages that the tests of a module share; the module's end looks back on them."""
    with visits(browser, visitor, page_server.url) as open_page:
        yield open_page


@contextmanager
def visits(browser, visitor, home):
    """What opens pages; in the end they are closed, and nothing may have gone wrong in any."""
    opened, contexts, complaints = [], [], []

    def open_page(url=home, *, apart=False, **options):
        context = visitor
        if apart or options:
            context = browser.new_context(**SCREEN | options)
            contexts.append(context)
        page = context.new_page()
        opened.append(page)
        page.set_default_timeout(45_000)

        def asks(request):
            if not request.url.startswith((url, "data:", "blob:")):
                complaints.append(f"asked for {request.url}")

        def heard(message):
            if message.type in ("error", "warning"):
                complaints.append(f"{message.type}: {message.text} ({message.location})")

        def answered(answer):
            if answer.status >= 400:
                complaints.append(f"{answer.status} for {answer.url}")

        page.on("request", asks)
        page.on("websocket", lambda socket: complaints.append(f"connected to {socket.url}"))
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
        page.on("popup", lambda other: complaints.append(f"opened {other.url}"))
        page.on("response", answered)
        page.goto(url)
        page.get_by_role("button", name="Generate", exact=True).wait_for()
        return page

    open_page.forgiven = "nothing is"
    yield open_page
    for page in opened:
        page.close()
    for context in contexts:
        context.close()
    assert [said for said in complaints if open_page.forgiven not in said] == []
