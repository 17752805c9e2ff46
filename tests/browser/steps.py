"""What the browser tests do on the page, in the words of a visitor."""

import re

from playwright.sync_api import expect

expect.set_options(timeout=40_000)


def generate(page, prompt, *, settings=None, wait=True):
    """Write a completion; settings are labels of number fields and their values."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    if settings:
        set_numbers(page, settings)
    page.evaluate("document.querySelector('#status p').dataset.old = 1")
    page.get_by_role("button", name="Generate", exact=True).click()
    if wait:
        expect(status(page)).to_contain_text("stopped:")
        expect(page.locator("#bars img")).to_be_visible()


def status(page):
    """The line under the completion, once it is of the completion asked for last."""
    return page.locator("#status p:not([data-old])")


def set_numbers(page, settings):
    """Type into the number fields of the settings, by their labels."""
    seed = page.get_by_label("Seed", exact=True)
    if not seed.is_visible():
        page.get_by_role("button", name=re.compile("^Settings:")).click()
    expect(seed).to_be_visible()
    for label, value in settings.items():
        name = label if label == "Seed" else f"number input for {label}"
        field = page.get_by_label(name, exact=True)
        for _ in range(3):  # a field that has only just come into being may forget the first try
            field.fill(str(value))
            field.press("Tab")
            if label != "New tokens" or settings_say(page, f" {value} tokens"):
                break


def settings_say(page, words):
    """Whether the line that sums the settings up comes to hold these words."""
    try:
        line = page.get_by_role("button", name=re.compile("^Settings:"))
        expect(line).to_contain_text(words, timeout=5_000)
    except AssertionError:
        return False
    return True


def completion(page):
    return page.get_by_label("Completion", exact=True).input_value()


def tokens(page):
    return page.locator("#strip button[data-index]")


def drawn(page):
    return page.locator("#strip button[data-index]:not([title='prompt token'])")


LIVELY = {"Temperature": 2, "Top-k": 0, "Repetition penalty": 1, "New tokens": 20}


def open_attention(page, name):
    section = page.locator(f"#{name}-attention")
    section.get_by_role("button", name="Attention").click()
    expect(page.locator(f"#{name}-head img")).to_be_visible()
    return section


def classify(page, text):
    page.get_by_role("tab", name="Classify").click()
    page.get_by_label("News text").fill(text)
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.locator("#classes img")).to_be_visible()


def pick_model(page, name):
    field = page.get_by_label("Model", exact=True)
    if not field.is_visible():
        page.get_by_role("button", name=re.compile("^Settings:")).click()
    field.click()
    page.get_by_role("option", name=name, exact=True).click()
