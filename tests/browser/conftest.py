"""A browser that may talk to the page alone, and that no error or warning gets past."""

import os
import shutil
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--no-first-run",
    *(f"--disable-{what}" for what in ("gpu", "quic", "sync", "component-update")),
    "--disable-background-networking",
]


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


@pytest.fixture
def visit(browser, page_server):
    """visit(url, **context options): an open page, which the end of the test looks back on."""
    contexts, complaints = [], []

    def open_page(url=page_server.url, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        context.set_default_timeout(45_000)

        def only_the_page(route):
            if route.request.url.startswith((url, "data:", "blob:")):
                route.continue_()
            else:
                complaints.append(f"asked for {route.request.url}")
                route.abort()

        def heard(message):
            if message.type in ("error", "warning"):
                complaints.append(f"{message.type}: {message.text} ({message.location})")

        context.route("**/*", only_the_page)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
        page.on(
            "response",
            lambda answer: (
                complaints.append(f"{answer.status} for {answer.url}")
                if answer.status >= 400
                else None
            ),
        )
        page.goto(url)
        page.get_by_role("button", name="Generate", exact=True).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
