"""What the browser tests do on the page, in the words of a visitor."""

import re

from playwright.sync_api import expect

expect.set_options(timeout=40_000)


def generate(page, prompt, *, settings=None, wait=True):
    """Write a completion; settings are labels of number fields and their values."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    if settings:
        set_numbers(page, settings)
    before = number_of(page)
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_function("n => (gpt2.stages.generate.text?.number ?? 0) !== n", arg=before)
    if wait:
        expect(status(page)).to_contain_text("stopped:")
        settled(page)


def number_of(page, tab="generate"):
    """Of the text that stands there, 0 if there is none."""
    return page.evaluate(f"gpt2.stage('{tab}').text?.number ?? 0")


def settled(page, tab="generate"):
    """Wait until the open view shows what is looked at, all of it."""
    page.wait_for_function(
        f"""() => {{
            const stage = gpt2.stages.{tab}, view = stage.views.get(stage.look.view);
            const answer = view.answers.get(view.key()) ?? gpt2.opening.answer(view);
            return !stage.writing && (answer?.done || answer?.refused);
        }}"""
    )


def status(page):
    """The line under a completion."""
    return page.locator("#status")


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
    """What was written, as the page knows it once it is done."""
    return page.evaluate("gpt2.stages.generate.text.completion")


def tokens(page):
    return page.locator("#strip [data-index]:not([aria-disabled])")


def drawn(page):
    return page.locator("#strip .drawn")


def selected(page, tab="generate"):
    """The place that is marked in the text."""
    strip = page.locator(f"#{tab}-inspector").locator("xpath=..").locator(".strip")
    return int(strip.locator("[aria-selected=true]").get_attribute("data-index"))


LIVELY = {"Temperature": 2, "Top-k": 0, "Repetition penalty": 1, "New tokens": 20}


def show(page, title, tab="generate"):
    """Open a view of the inspector, and wait for its picture."""
    inspector = page.locator(f"#{tab}-inspector")
    inspector.get_by_role("tab", name=title, exact=True).click()
    settled(page, tab)
    return inspector.get_by_role("tabpanel", name=title, exact=True)


def picture(page, slot):
    """A picture, by the slot that it is in."""
    return page.locator(f"#{slot} figure svg[role=img]")


def said(page, slot):
    """What a picture says of itself."""
    return picture(page, slot).get_attribute("aria-label")


def classify(page, text):
    page.get_by_role("tab", name="Classify", exact=True).click()
    page.get_by_label("News text", exact=True).fill(text)
    before = number_of(page, "classify")
    page.get_by_role("button", name="Classify", exact=True).click()
    page.wait_for_function("n => (gpt2.stages.classify.text?.number ?? 0) !== n", arg=before)
    settled(page, "classify")


def pick_model(page, name):
    field = page.get_by_label("Model", exact=True)
    if not field.is_visible():
        page.get_by_role("button", name=re.compile("^Settings:")).click()
    field.click()
    page.get_by_role("option", name=name, exact=True).click()
