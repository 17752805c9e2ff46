"""How soon the page answers, in a browser: first paint, a picked token, and text as it grows.

    python tests/benchmarks/page_speed.py [--only paint,picks,writing] [--url URL]

Starts app.py and drives Chromium (CHROMIUM can name it); prints a line for each measure. Times are
milliseconds on this machine's clock, from the browser's own events.
"""

import argparse
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from contest.server import served
from gradio_client import Client
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SCREEN = {"viewport": {"width": 1280, "height": 900}}
PROMPT = "The president said on Tuesday that"

# Notes when the text and its picture are first seen, in frames that the browser paints, and what
# moved by itself.
WATCH = """
window.seen = {}; window.shifts = [];
new PerformanceObserver((list) => {
    for (const { value, hadRecentInput } of list.getEntries()) shifts.push([value, hadRecentInput]);
}).observe({ type: "layout-shift", buffered: true });
const visible = (selector) => document.querySelector(selector)?.getBoundingClientRect().width > 0;
const look = () => {
    const both = visible("[role=option][aria-selected=true]") && visible(".slot figure svg");
    // What this frame holds is on the screen when the next one begins.
    if (both && !seen.example) requestAnimationFrame((at) => { seen.example ??= at; });
    const own = document.querySelector("gradio-app #generate-next figure svg");
    if (own && getComputedStyle(own).visibility === "visible") seen.page ??= performance.now();
    if (!seen.page) requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
# Picks a token as a click does, and resolves once its picture stands; 0 means at once.
PICK = """(place) => new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`no picture of token ${place}`)), 10_000);
    const start = performance.now();
    document.querySelector(`gradio-app #strip [data-index="${place}"]`).click();
    const box = document.querySelector("gradio-app #token");
    const look = () => {
        const waiting = document.querySelector("gradio-app #bars").classList.contains("waiting");
        const words = box.querySelector("b")?.textContent ?? "";
        if (!waiting && new RegExp(`^Token ${place}\\\\b`).test(words)) {
            requestAnimationFrame(() => resolve(performance.now() - start));
        } else setTimeout(look, 1);
    };
    look();
})"""
# Clicks Generate and resolves with the times of the first and the last token, and how many.
WRITE = """() => new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("nothing was written")), 60_000);
    const box = document.querySelector("gradio-app #strip");
    const start = performance.now();
    const found = {};
    const count = () => box.querySelectorAll(".drawn").length;
    const before = box.querySelector(".drawn");
    document.querySelector("gradio-app .buttons button.primary").click();
    const observer = new MutationObserver(() => {
        const first = box.querySelector(".drawn");
        if (first && first !== before) found.first ??= performance.now() - start;
    });
    observer.observe(box, { childList: true });
    const look = () => {
        const words = document.querySelector("gradio-app #status").textContent;
        if (found.first && words.includes("stopped:")) {
            observer.disconnect();
            resolve({ ...found, last: performance.now() - start, count: count(), words });
        } else requestAnimationFrame(look);
    };
    look();
})"""


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--only", default="paint,picks,writing", help="what to measure")
    made.add_argument("--url", help="of a page that runs; else app.py is started")
    args = made.parse_args()
    with warm_page(args.url) as url, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for name in args.only.split(","):
            {"paint": paint, "picks": picks, "writing": writing}[name](browser, url)
        browser.close()
    return 0


@contextmanager
def warm_page(url: str | None) -> Iterator[str]:
    """The page's address, warm: with its example made."""
    if url:
        yield url
        return
    with served() as server:
        for _ in range(600):
            if 'id="example"' in httpx.get(server.url, trust_env=False).text:
                break
            time.sleep(0.1)
        yield server.url


def opened(browser: Browser, url: str) -> Page:
    page = browser.new_context(**SCREEN).new_page()
    page.add_init_script(WATCH)
    page.goto(url)
    page.wait_for_function("seen.page")
    return page


def paint(browser: Browser, url: str, runs: int = 9) -> None:
    """First paint with the example, in browsers that never saw the page and in one that did."""
    cold = []
    for _ in range(runs):
        page = opened(browser, url)
        page.wait_for_timeout(max(0, 3000 - page.evaluate("performance.now()")))
        cold.append(page.evaluate("({...seen, shift: shifts.reduce((a, [v]) => a + v, 0)})"))
        page.context.close()
    page = opened(browser, url)
    warm = []
    for _ in range(runs):
        page.goto(url)
        page.wait_for_function("seen.page")
        warm.append(page.evaluate("seen"))
    page.context.close()
    for name, found in (("cold", cold), ("warm", warm)):
        example, own = (said([one[key] for one in found]) for key in ("example", "page"))
        print(f"{name} browser: example seen {example}; the page itself {own}", flush=True)
    print(f"layout shift from load to 3 s: at most {max(one['shift'] for one in cold):.3f}")


def picks(browser: Browser, url: str, runs: int = 40) -> None:
    """Tokens of a text of 60, picked at random; and neighbours of the selected one when idle."""
    page = opened(browser, url)
    set_text(page, 60)
    write(page)
    page.wait_for_timeout(1500)
    prompt = page.evaluate("gpt2.stages.generate.text.prompt_length")
    length = page.evaluate("gpt2.stages.generate.text.ids.length")
    places = random.Random(0).sample(range(prompt, length), runs)
    far = []
    for place in places:
        page.wait_for_function("!gpt2.view('generate', 'next').ahead")
        page.evaluate("gpt2.view('generate', 'next').answers.clear()")
        far.append(page.evaluate(PICK, place))
    page.evaluate("gpt2.view('generate', 'next').answers.clear()")
    near = []
    for place in range(prompt + 1, length - 1):
        page.evaluate(PICK, place - 1)
        page.wait_for_timeout(1200)
        near.append(page.evaluate(PICK, place))
        if len(near) == runs // 2:
            break
    page.context.close()
    print(f"a picked token: {said(far)}", flush=True)
    print(f"a neighbour of the selected token, when idle: {said(near)}", flush=True)


def writing(browser: Browser, url: str, runs: int = 5, tokens: int = 200) -> None:
    """Tokens a second in the browser, and those of the engine in the same server."""
    page, client = opened(browser, url), Client(url, verbose=False)
    set_text(page, tokens)
    shown, told, alone, first = [], [], [], []
    for run in range(runs):
        set_seed(page, 2 * run + 11)
        page.evaluate("shifts.length = 0")
        found = write(page)
        # From click to last token, and from first to last as the status line's engine counts.
        shown.append(1000 * found["count"] / found["last"])
        first.append(found["first"])
        told.append(float(found["words"].split(" tokens/s")[0].split()[-1]))
        start = time.perf_counter()
        job = client.submit(
            PROMPT, tokens, 0.7, 40, 1.0, 0.0, 1.2, 2 * run + 12, "", api_name="/generate"
        )
        written = len(job.result(timeout=60)["tokens"])
        alone.append(written / (time.perf_counter() - start))
    seen = page.evaluate("shifts")
    moved, shifts = sum(value for value, recent in seen if not recent), sum(v for v, _ in seen)
    page.context.close()
    browser_rate, engine, client_rate = map(statistics.median, (shown, told, alone))
    print(
        f"{tokens} tokens: browser {browser_rate:.1f} tokens/s from click to last token "
        f"(first after {statistics.median(first):.0f} ms); the engine meanwhile {engine:.1f}, "
        f"without a browser {client_rate:.1f}; ratio {browser_rate / client_rate:.2f}"
    )
    print(f"layout shift while writing: {moved:.3f}, with recent input {shifts:.3f}", flush=True)


def set_text(page: Page, tokens: int) -> None:
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.locator("gradio-app .label-wrap").first.click()
    field = page.get_by_label("number input for New tokens", exact=True)
    field.fill(str(tokens))
    field.press("Tab")
    page.wait_for_timeout(800)


def set_seed(page: Page, seed: int) -> None:
    field = page.get_by_label("Seed", exact=True)
    field.fill(str(seed))
    field.press("Tab")
    page.wait_for_timeout(800)


def write(page: Page) -> dict:
    found = page.evaluate(WRITE)
    page.wait_for_timeout(300)
    return found


def said(times: list[float]) -> str:
    ordered = sorted(times)
    late = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return f"p50 {statistics.median(times):.0f}, p95 {late:.0f} ms (n {len(times)})"


if __name__ == "__main__":
    sys.exit(main())
