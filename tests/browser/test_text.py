"""The text as a visitor meets it: written, stopped, picked, branched; by mouse and by keyboard."""

import re
import time

import httpx
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from steps import (
    LIVELY,
    completion,
    drawn,
    expect,
    generate,
    pick_model,
    selected,
    set_numbers,
    settled,
    status,
    tokens,
)

from gpt2.engine import Limits

pytestmark = pytest.mark.browser


def explained(page):
    """The place that the open view is about."""
    return int(re.search(r"Token (\d+)", page.locator("#token").inner_text()).group(1))


# --- written ---------------------------------------------------------------------------------


def test_it_writes_stops_when_told_and_writes_again(visit, page_server):
    page = visit()
    with page_server.slowed(0.15):
        generate(page, "Hello", settings={"New tokens": 60}, wait=False)
        expect(drawn(page).nth(2)).to_be_visible()
        early = drawn(page).count()
        expect(drawn(page).nth(6)).to_be_visible()
        assert drawn(page).count() > early > 0
        page.get_by_role("button", name="Stop", exact=True).click()
        stopped = time.time()
        expect(status(page)).to_contain_text("stopped: by you")
        page.wait_for_timeout(800)
        assert len([made for made in page_server.steps() if made > stopped + 0.4]) <= 1
    left = drawn(page).count()
    expect(status(page)).to_contain_text(f"{left} tokens")
    settled(page)
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
            page.wait_for_timeout(150 * place)
            page.get_by_role("button", name="Stop", exact=True).click()
            expect(status(page)).to_contain_text("stopped: by you")
            said = status(page).inner_text()
            count = drawn(page).count()
            assert f"{count} token" in said


def test_stop_reaches_a_text_that_still_waits(visit, page_server):
    """Four may use the model at once; a fifth waits, is stopped, and never writes on."""
    with page_server.slowed(0.3):
        pages = [visit(apart=True) for _ in range(5)]
        for page in pages[:-1]:
            generate(page, "Hello", wait=False)
        last = pages[-1]
        last.get_by_label("Prompt", exact=True).fill("Hello")
        last.get_by_role("button", name="Generate", exact=True).click()
        last.get_by_role("button", name="Stop", exact=True).click()
        for page in pages[:-1]:
            page.get_by_role("button", name="Stop", exact=True).click()
        expect(status(last)).to_contain_text("stopped: by you")
        assert "1 token " in status(last).inner_text()


def test_a_crowd_is_told_in_words(visit, page_server):
    """Who waits sees the place in the queue and can leave it; who finds none is told what to do."""
    api = httpx.Client(base_url=page_server.url)
    page, ids = visit(), []

    def ask(count):
        body = {"prompt": "Hello", "max_new_tokens": 60}
        sent = [api.post("gradio_api/call/v2/generate", json=body).json() for _ in range(count)]
        ids.extend(answer["event_id"] for answer in sent)

    def click(name):
        page.get_by_role("button", name=name, exact=True).click()

    with page_server.slowed(0.3), api:
        ask(Limits().rows // 2)  # of one address no more are written at once
        generate(page, "Hello", wait=False)
        expect(status(page)).to_contain_text("this text is number 1 in the queue")
        click("Stop")
        expect(status(page)).to_contain_text("stopped before its first token was written")
        ask(Limits().queue // 2)
        click("Generate")
        expect(page.get_by_text("one address may have 48 at a time")).to_be_visible()
        for event_id in ids:
            about = {"session_hash": event_id, "event_id": event_id}
            api.post("gradio_api/cancel", json={**about, "fn_index": generate_index(api)})
    generate(page, "Hello", settings={"New tokens": 5})
    expect(status(page)).to_contain_text("5 tokens")


def generate_index(api):
    """The id of the function behind /generate."""
    events = api.get("config").json()["dependencies"]
    return next(event["id"] for event in events if event["api_name"] == "generate")


def test_stop_after_the_end_leaves_the_status_as_it_was(visit):
    page = visit()
    generate(page, "Hello", settings={"New tokens": 5})
    before = status(page).inner_text()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.wait_for_timeout(500)
    assert status(page).inner_text() == before


def test_a_closed_tab_ends_its_text(visit, page_server):
    page = visit(apart=True)
    with page_server.slowed(0.1):
        generate(page, "Hello", settings={"New tokens": 60}, wait=False)
        expect(drawn(page).nth(2)).to_be_visible()
        page.context.close()
        time.sleep(2)
        before = len(page_server.steps())
        time.sleep(1)
        assert len(page_server.steps()) == before


def test_the_text_and_the_strip_say_the_same(visit, engine):
    from gpt2.engine import Request, Sampling

    page = visit()
    generate(page, "Hello world", settings={**LIVELY, "Seed": 5})
    sampling = Sampling(temperature=2, top_k=0, seed=5)
    *_, trace = engine.generate(Request("Hello world", 20, sampling))
    assert completion(page) == trace.completion  # what the page wrote is what the API would
    assert page.evaluate("gpt2.stages.generate.text.ids") == list(trace.ids)
    assert drawn(page).count() == len(trace.steps)
    expect(status(page)).to_contain_text("seed 5 · tiny · stopped: length")


def test_the_text_can_be_selected_whole_and_is_left_as_it_is(visit):
    """By a mouse and for a copy; a browser's translation leaves it alone."""
    page = visit()
    generate(page, "Hello\nworld of 2 words", settings={"New tokens": 8})
    box = page.get_by_label("Completion", exact=True)
    expect(box).to_have_attribute("translate", "no")
    first, last = tokens(page).first.bounding_box(), drawn(page).nth(3).bounding_box()
    page.mouse.move(first["x"] + 2, first["y"] + 8)
    page.mouse.down()
    page.mouse.move(last["x"] + 2, last["y"] + 8, steps=5)
    page.mouse.up()
    assert "world of 2 words" in page.evaluate("String(getSelection())")
    box.evaluate("box => getSelection().selectAllChildren(box)")
    copied = page.evaluate("String(getSelection())")
    assert copied.startswith("Hello\nworld of 2 words")
    assert "⏎" not in copied


def test_a_prompt_over_the_context_says_how_much_was_dropped(visit):
    page = visit()
    page.get_by_label("Prompt", exact=True).fill(" the" * 100)
    expect(page.get_by_text("100 of 64 tokens; the beginning will be dropped")).to_be_visible()
    generate(page, " the" * 100, settings={"New tokens": 10})
    expect(status(page)).to_contain_text("the first 46 tokens of the prompt were dropped")


def test_an_empty_prompt_starts_from_the_end_of_text(visit):
    page = visit()
    generate(page, "", settings={"New tokens": 5})
    expect(page.locator("#strip [aria-disabled]")).to_have_text("<|endoftext|>")


def test_a_bad_request_is_told_once_and_loses_nothing(visit):
    page = visit()
    generate(page, "Hello", settings={"New tokens": 5})
    before = completion(page)
    page.get_by_label("Prompt", exact=True).fill("x" * 20_001)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(status(page)).to_contain_text("the limit is 20,000")
    page.wait_for_timeout(500)
    assert page.locator(".toast-body").count() == 0
    assert len(page.get_by_label("Prompt", exact=True).input_value()) == 20_001
    assert before
    assert completion(page) == before
    assert drawn(page).count() == 5
    drawn(page).nth(2).click()  # and it can still be looked into
    settled(page)
    assert explained(page) == selected(page) == 3
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


def test_an_emptied_slider_is_what_it_was(visit):
    """It was taken for 0, which top-k and temperature understand quite otherwise."""
    page = visit()
    set_numbers(page, {"New tokens": 5, "Top-k": 30, "Temperature": 0.6})
    page.get_by_label("number input for Top-k", exact=True).fill("")
    page.get_by_label("number input for Temperature", exact=True).fill("")
    generate(page, "Hello world")
    settings = page.evaluate("gpt2.stages.generate.text.settings")
    assert (settings["top_k"], settings["temperature"]) == (30, 0.6)


# --- picked ----------------------------------------------------------------------------------


def test_a_token_picked_by_mouse_is_explained(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    for place in (3, 10):
        token = drawn(page).nth(place)
        token.click()
        expect(token).to_have_attribute("aria-selected", "true")
        expect(page.locator("#token")).to_contain_text(f"Token {place + 2} ")
        expect(page.locator("#token")).to_contain_text(token.get_attribute("title").split(" · ")[1])
    assert page.locator("#strip [aria-selected=true]").count() == 1


def test_tokens_picked_by_keyboard_keep_the_focus(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    drawn(page).first.focus()
    for place in (3, 4, 5):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#token")).to_contain_text(f"Token {place} ")
        focused = page.evaluate("document.activeElement.dataset.index")
        assert focused == str(place) == str(selected(page))
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#token")).to_contain_text("Token 4 ")
    page.get_by_role("button", name="Next token").click()
    expect(page.locator("#token")).to_contain_text("Token 5 ")
    page.get_by_role("button", name="Previous token").click()
    expect(page.locator("#token")).to_contain_text("Token 4 ")


def test_however_fast_the_keys_what_is_marked_is_what_is_explained(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    for _ in range(3):
        drawn(page).first.click()
        for _ in range(6):
            page.keyboard.press("ArrowRight")
        settled(page)
        assert selected(page) == explained(page) == 8
        for _ in range(20):
            page.keyboard.press("ArrowLeft")
        settled(page)
        assert selected(page) == explained(page) == 1


def test_a_text_is_one_stop_of_the_tab_key(visit):
    page = visit()
    generate(page, "Hello world", settings={**LIVELY, "New tokens": 40})
    page.get_by_label("probability").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#strip') !== null")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#strip') === null")


def test_the_tint_can_be_changed(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    kinds = set()
    for name in ("rank", "entropy", "probability"):
        page.get_by_label(name, exact=True).check()
        expect(page.locator(f".legend[data-by={name}]")).to_be_visible()
        kinds.add(" ".join(token.get_attribute("class") for token in drawn(page).all()))
    assert len(kinds) == 3


def test_a_text_that_is_written_has_no_dead_buttons(visit, page_server):
    """Its old panel stood there, of another text, with buttons that did nothing."""
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    with page_server.slowed(0.2):
        generate(page, "Another", wait=False)
        panel = page.get_by_role("tabpanel", name="Next token")
        expect(panel.get_by_text("The text is being written; its views follow.")).to_be_visible()
        assert panel.locator(".slot.waiting").count() == panel.locator(".slot").count()
        assert panel.locator(".slot:not([inert]) button").count() == 0
        page.get_by_role("button", name="Stop", exact=True).click()
    settled(page)
    expect(panel.get_by_text("The text is being written")).not_to_be_visible()


def test_a_text_that_nobody_answers_leaves_the_page_usable(visit):
    """It stood there as being written for ever."""
    visit.forgiven = "503"
    page = visit(apart=True)
    generate(page, "Hello world", settings=LIVELY)
    before = completion(page)
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "full"}))
    page.locator("#alternatives [data-choice]").first.click()
    expect(status(page)).to_contain_text("did not answer")
    assert page.evaluate("gpt2.stages.generate.writing") is False
    assert completion(page) == before
    page.unroute("**/queue/join*")
    page.locator("#alternatives [data-choice]").first.click()
    expect(page.locator("#tree [data-choice]")).to_have_count(3)


# --- gone on with ----------------------------------------------------------------------------


def test_another_token_is_chosen_and_the_branches_walked(visit, engine):
    from gpt2.engine import Request, Sampling

    page = visit()
    generate(
        page, "Hello world", settings={**LIVELY, "Temperature": 1, "New tokens": 12, "Seed": 0}
    )
    first = completion(page)
    drawn(page).nth(4).click()
    expect(page.locator("#token")).to_contain_text("Token 6 ")
    choice = page.locator("#alternatives [data-choice]").nth(2)
    token = int(choice.get_attribute("data-choice"))
    choice.focus()
    page.keyboard.press("Enter")
    tree = page.locator("#tree [data-choice]")
    expect(tree).to_have_count(3)  # two texts and Undo
    expect(page.locator("#token")).to_contain_text("chosen by you")
    second = completion(page)
    assert second != first
    assert drawn(page).count() == 12
    request = Request("Hello world", 12, Sampling(temperature=1, top_k=0))
    *_, trace = engine.generate(request)
    place = len(trace.prompt_ids) + 4
    *_, wanted = engine.branch(request, trace.ids, place, token)
    assert second == wanted.completion  # the page wrote what the engine does, and it replays
    drawn(page).nth(8).click()
    page.get_by_label("Or type how it goes on from here").fill(" Zimbabwean never")
    page.get_by_role("button", name="Go on", exact=True).click()
    expect(tree).to_have_count(4)
    assert " Zimbabwean never" in completion(page)
    expect(page.locator("#token code")).to_have_text("·never")
    expect(page.locator("#tree .compare b")).to_have_text(["Text 2", "Text 3"])
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Completion", exact=True)).to_contain_text(second.split()[-1])
    assert completion(page) == second
    tree.first.click()
    expect(tree.first).to_have_attribute("aria-current", "true")
    assert completion(page) == first
    generate(page, "Hello world", settings={"New tokens": 5})
    expect(tree).to_have_count(0)


def test_a_token_of_the_prompt_has_no_branches(visit):
    page = visit()
    generate(page, "Hello world", settings=LIVELY)
    page.locator("#strip .prompt").last.click()
    expect(page.locator("#alternatives")).to_contain_text("change it there")
    page.get_by_label("Or type how it goes on from here").fill(" never")
    page.get_by_role("button", name="Go on", exact=True).click()
    expect(status(page)).to_contain_text("change it there")


# --- several tabs, several models ------------------------------------------------------------


def test_many_tabs_of_one_browser_open_and_write(visit):
    """With a connection that stays open in each, the seventh never opened."""
    pages = [visit() for _ in range(8)]
    assert pages[0].evaluate("window.gradio_config.connect_heartbeat") is False
    for page in (pages[0], pages[-1]):
        generate(page, "Hello", settings={"New tokens": 5})


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
    words = [page.locator("#strip [aria-disabled]").inner_text() for page in (first, second)]
    assert words == ["Hello", "Another"]
    drawn(second).nth(4).click()
    expect(second.locator("#token")).to_contain_text("Token 6 ")
    drawn(first).nth(7).click()
    expect(first.locator("#token")).to_contain_text("Token 9 ")
    expect(second.locator("#token")).to_contain_text("Token 6 ")


def test_another_model_picked_while_one_writes_disturbs_nothing(visit, page_server):
    page = visit()
    generate(page, "The first", settings={"New tokens": 20})
    before = completion(page)
    with page_server.slowed(0.2):
        generate(page, "The first", wait=False)
        expect(drawn(page).nth(2)).to_be_visible()
        pick_model(page, "other")
        expect(page.get_by_text("2 of 48 tokens")).to_be_visible()
    expect(status(page)).to_contain_text("tiny · stopped: length")
    assert completion(page) == before
    generate(page, "The first")
    expect(status(page)).to_contain_text("other · stopped: length")
    assert completion(page) != before


def test_a_model_that_cannot_be_loaded_says_why_and_leaves_the_others(visit):
    page = visit()
    pick_model(page, "broken")
    expect(page.get_by_text("model.safetensors is damaged")).to_be_visible()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(status(page)).to_contain_text("model.safetensors is damaged")
    pick_model(page, "other")
    generate(page, "On", settings={"New tokens": 4})
    expect(status(page)).to_contain_text("4 tokens")
