"""Many visitors at once, over a real server: none takes all places, and who is gone leaves none."""

import asyncio
import gc
import threading
import time
import weakref
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from programs import free_port

from gpt2.engine import Engine, Limits
from gpt2.ui import build_app, launch_options
from gpt2.ui.server import mailbox, queue

pytestmark = pytest.mark.slow

ROWS = WAITING = 4
HEADERS = {"content-type": "application/json"}


class Site:
    """A page over the tiny models with places for few, in this process."""

    def __init__(self, engine):
        self.engine, self.pause = engine, 0.0
        self.steps = []  # of each, how many texts it was for
        decoder = engine.library.get(engine.catalog.models[0]).decoder
        read = decoder.read

        def watched(feeds):
            self.steps.append(len(feeds))
            time.sleep(self.pause)
            return read(feeds)

        decoder.read = watched
        self.caches = []  # weak references to those of all its texts
        cache = decoder.cache

        def remembered(capacity):
            made = cache(capacity)
            self.caches.append(weakref.ref(made))
            return made

        decoder.cache = remembered
        self.app = build_app(engine)
        where = {"server_name": "127.0.0.1", "server_port": free_port()}
        self.app.launch(prevent_thread_lock=True, **where, **launch_options())
        self.lines = self.app._queue.lines

    def visitor(self, address):
        transport = httpx.HTTPTransport(local_address=address)
        return httpx.Client(base_url=f"{self.app.local_url}gradio_api/", transport=transport)

    def fn_index(self, **about):
        found = self.app.get_config_file()["dependencies"]
        (index,) = [one["id"] for one in found if about.items() <= one.items()]
        return index

    def idle(self):
        return not any(line.everyone for line in self.lines.values())


@pytest.fixture(scope="module")
def opened(model_directory, classifier_directory):
    limits = Limits(rows=ROWS, queue=WAITING, draft_bytes=0)
    names = str(model_directory), str(classifier_directory)
    site = Site(Engine.load(*names, device="cpu", limits=limits))
    yield site
    site.app.close(verbose=False)
    site.engine.close()


@pytest.fixture
def site(opened):
    """Each step of its texts takes 0.1 seconds; a text of 60 tokens so takes six."""
    wait_for(opened.idle)
    opened.pause = 0.1
    yield opened
    opened.pause = 0.0


@pytest.fixture
def visitors(site):
    """Three, of three addresses."""
    with ExitStack() as stack:
        yield [stack.enter_context(site.visitor(f"127.0.0.{last}")) for last in (7, 8, 9)]


def wait_for(condition, *, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def post(visitor, *, tokens=60, path="call/v2/generate", **more):
    return visitor.post(path, json={"prompt": "Hello", "max_new_tokens": tokens, **more})


def post_all(visitor, count, **more):
    """Texts that are asked for; nobody listens yet."""
    sent = [post(visitor, **more) for _ in range(count)]
    assert {answer.status_code for answer in sent} == {200}
    return [answer.json()["event_id"] for answer in sent]


@contextmanager
def listening(visitor, event_id):
    """Somebody hears an answer as it comes."""
    with visitor.stream("GET", f"call/generate/{event_id}") as stream:
        assert "event" in next(stream.iter_text())
        yield


def ask_on_the_page(site, visitor):
    """A text, as the form asks for it; its lines are for the session "page"."""
    settings = site.app.get_config_file()
    target = next(one for one in settings["components"] if one["props"].get("elem_id") == "prompt")
    form = next(
        one
        for one in settings["dependencies"]
        if target["id"] in one["inputs"] and len(one["inputs"]) > 5
    )
    values = {one["id"]: one["props"].get("value") for one in settings["components"]}
    data = [values[component] for component in form["inputs"][:-1]]
    body = {"data": [*data, {"moment": 1}], "fn_index": form["id"], "session_hash": "page"}
    assert visitor.post("queue/join", json=body).status_code == 200


def drop(site, visitor, ids):
    """What was asked for is wanted no more."""
    for event_id in ids:
        body = {"session_hash": event_id, "event_id": event_id}
        visitor.post("cancel", json=body | {"fn_index": site.fn_index(api_name="generate")})


def classified(visitor, text):
    sent = visitor.post("call/v2/classify", json={"text": text}).json()["event_id"]
    return visitor.get(f"call/classify/{sent}").text


# --- fair to all -----------------------------------------------------------------------------


def test_texts_that_nobody_hears_keep_no_short_read_of_others_waiting(site, visitors):
    """16 posts of 500 tokens, and gone: all others got 503, a /score waited 74 seconds."""
    gone, other, _ = visitors
    while post(gone).status_code == 200:
        pass
    begun = time.monotonic()
    assert "World" in classified(other, "Oil prices climb")
    assert time.monotonic() - begun < 1
    assert "World" in classified(gone, "Oil prices climb")
    assert len(post_all(other, 1)) == 1


def test_an_address_that_has_its_share_is_told_what_to_do_and_others_are_served(site, visitors):
    greedy, other, _ = visitors
    post_all(greedy, (ROWS + WAITING) // 2)
    refused = post(greedy)
    assert refused.status_code == 429
    assert "one address may have 4 at a time while 4 places are left" in refused.json()["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "127.0.0" not in refused.text
    post_all(other, 1)


def test_a_full_queue_says_the_place_and_when_to_try_again(site):
    with ExitStack() as stack:
        several = {last: stack.enter_context(site.visitor(f"127.0.0.{last}")) for last in "123456"}
        for last in "11123345":
            post_all(several[last], 1)
        refused = post(several["6"])
    assert refused.status_code == 503
    assert (
        "yours would be number 5 in a queue that holds 4; try again in" in refused.json()["detail"]
    )
    assert int(refused.headers["retry-after"]) >= 1


def test_gradios_clients_are_told_in_the_same_words(site, visitors):
    """Of a 503 they say "Queue is full!", and nothing else."""
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(site.app.local_url, verbose=False)
    with site.visitor("127.0.0.1") as same:
        post_all(same, 4)
        with pytest.raises(AppError, match="one address may have 4 at a time"):
            client.predict("Hello", api_name="/generate")
    client.close()


@pytest.mark.parametrize("asks", [ask_on_the_page, lambda _, visitor: post_all(visitor, 1)])
def test_the_tokens_of_a_text_are_counted_while_it_is_written(site, visitors, asks):
    """Who had the most waits longest, see test_visitors."""
    asks(site, visitors[0])
    line = site.lines["texts"]
    for tokens in (2, 5):
        wait_for(lambda tokens=tokens: line.running and line.running[0].took > tokens)


def test_on_the_page_who_waits_sees_the_place_in_the_queue(site):
    with ExitStack() as stack:
        *others, last = (stack.enter_context(site.visitor(f"127.0.0.{n}")) for n in range(11, 16))
        ids = [(visitor, post_all(visitor, 1)) for visitor in others]
        ask_on_the_page(site, last)
        seen = ""
        with last.stream("GET", "queue/data", params={"session_hash": "page"}) as stream:
            for part in stream.iter_text():
                seen += part
                if "number 1 in the queue" in seen:
                    break
        for visitor, events in ids:
            drop(site, visitor, events)
    assert "number 1 in the queue" in seen


def test_a_view_that_is_cancelled_keeps_its_place_until_it_has_ended(site, visitors):
    """Gradio gives the place of a plain function away while its thread goes on."""
    visitor, line = visitors[0], site.lines["calls"]
    release = threading.Event()
    blocker = threading.Thread(target=site.engine.library.scheduler.run, args=(release.wait,))
    blocker.start()
    sent = visitor.post("call/v2/score", json={"text": "Hello"}).json()["event_id"]
    wait_for(lambda: len(line.running) == 1)
    body = {"session_hash": sent, "event_id": sent, "fn_index": site.fn_index(api_name="score")}
    visitor.post("cancel", json=body)
    assert len(line.running) == 1
    release.set()
    wait_for(lambda: not line.running)
    blocker.join()


def test_a_call_that_is_cancelled_before_it_ran_gives_its_place_back(site, visitors, monkeypatch):
    """Its task then runs no line that could; Gradio counts it as running for ever."""

    async def never(*_):
        await asyncio.sleep(60)

    monkeypatch.setattr(site.app._queue, "process_events", never)
    (event_id,) = post_all(visitors[0], 1)
    wait_for(lambda: site.app._queue.get_active_worker_count() == 1)
    assert not site.idle()
    drop(site, visitors[0], [event_id])
    assert site.idle()
    assert site.app._queue.get_active_worker_count() == 0


# --- let go ----------------------------------------------------------------------------------


def ends_within_a_step(site, begin):
    """Whether texts end with the step that is under way when their reader leaves; one more is on
    the way meanwhile. An update to the reader takes four. A busy machine has three tries.

    Args:
        begin: has them written, and gives what their reader does to leave.
    """
    site.pause, most = 0.02, 2
    for _ in range(3):
        with ExitStack() as stack:
            leave = begin(stack)
            time.sleep(0.1)
            assert site.steps
            leave()
            count = len(site.steps)
            time.sleep(0.2)
            if len(site.steps) - count <= most:
                return site.idle()
    return False


def test_a_connection_that_is_dropped_ends_its_text_within_a_step(site, visitors):
    def begin(stack):
        (event_id,) = post_all(visitors[0], 1)
        stack.enter_context(listening(visitors[0], event_id))
        return stack.close

    assert ends_within_a_step(site, begin)


def test_a_text_that_is_cancelled_by_the_api_ends_within_a_step(site, visitors):
    def begin(stack):
        (event_id,) = post_all(visitors[0], 1)
        stack.enter_context(listening(visitors[0], event_id))
        return lambda: drop(site, visitors[1], [event_id])

    assert ends_within_a_step(site, begin)


def test_a_closed_tab_ends_all_its_texts_those_that_wait_too(site, visitors):
    index = site.fn_index(api_name="generate")
    body = {"data": ["Hello", 60], "fn_index": index, "session_hash": "tab"}

    def begin(stack):
        for _ in range(4):
            assert visitors[0].post("queue/join", json=body).status_code == 200
        wait_for(lambda: len(site.lines["texts"].everyone) == 4)
        hears = visitors[0].stream("GET", "queue/data", params={"session_hash": "tab"})
        next(stack.enter_context(hears).iter_text())
        return stack.close

    assert ends_within_a_step(site, begin)


def test_a_text_that_nobody_ever_listens_for_is_given_up(site, visitors, monkeypatch):
    monkeypatch.setattr(queue, "UNHEARD", 1.0)
    unheard = post_all(visitors[0], 4)
    heard = post(visitors[1], tokens=12).json()["event_id"]
    assert visitors[1].get(f"call/generate/{heard}").text.count('"finish_reason": "length"')
    wait_for(site.idle, seconds=3)
    late = visitors[0].get(f"call/generate/{unheard[0]}").text
    assert "nobody listened for the answer" in late


@pytest.mark.parametrize("listens", [True, False])
def test_of_a_text_that_was_given_up_no_memory_stays(site, visitors, monkeypatch, listens):
    monkeypatch.setattr(queue, "UNHEARD", 10 if listens else 0.1)
    (event_id,) = post_all(visitors[0], 1)
    if listens:
        with listening(visitors[0], event_id):
            assert site.caches[-1]() is not None
    wait_for(site.idle)
    for _ in range(2):  # a round in which it is seen, whole
        site.engine.library.scheduler.run(lambda: None)
    gc.collect()
    assert [cache() for cache in site.caches if cache() is not None] == []


def test_of_a_visitor_who_rests_gradio_keeps_nothing(site, visitors, monkeypatch):
    """A third of a megabyte a session stayed for an hour, of each call by a session of its own."""
    monkeypatch.setattr(mailbox, "REST_SECONDS", 0.2)
    body = {"data": ["Oil prices climb"], "fn_index": site.fn_index(api_name="classify")}
    for number in range(5):
        session = f"rests {number}"
        assert visitors[0].post("queue/join", json=body | {"session_hash": session}).is_success
        visitors[0].get("queue/data", params={"session_hash": session})
    kept = site.app.state_holder.session_data
    wait_for(lambda: not any(session.startswith("rests") for session in kept))
