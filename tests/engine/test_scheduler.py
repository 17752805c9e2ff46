"""gpt2.engine.scheduler: texts that share steps are as if each were alone; who comes when."""

import asyncio
import math
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
import torch
from streams import collected

from gpt2 import fast, weights
from gpt2.config import GPT2Config
from gpt2.engine import Engine, Limits, Request, Scales
from gpt2.engine.scheduler import ALONE, CHUNK, portions
from gpt2.engine.stream import Stream
from gpt2.fast import Draw, Feed, PlainDecoder
from gpt2.generate import prefill
from gpt2.records import Step, Update
from gpt2.sampling import Sampling
from gpt2.tokenizer import ENDOFTEXT_ID
from gpt2.weights import hub

LIVELY = Sampling(temperature=3.0, top_k=0, seed=7)
GREEDY = Sampling(temperature=0)


class InParts(PlainDecoder):
    """Reads a text anew for each token after which logits are wanted: parts make no difference.

    A cache holds nothing but the tokens.
    """

    in_parts = True

    @torch.inference_mode()
    def read(self, feeds):
        rows = []
        for feed in feeds:
            cache, first = feed.cache, feed.cache.length
            ids = cache.keys[0, 0, 0, :first, 0].long().tolist() + list(feed.ids)
            cache.keys[0, 0, 0, : len(ids), 0] = torch.tensor(ids)
            cache.advance(len(feed.ids))
            rows += [
                prefill(self.model, ids[:length], self.cache(length))
                for length in range(len(ids) - feed.wanted + 1, len(ids) + 1)
            ]
        return torch.stack(rows) if rows else torch.empty(0, self.model.config.vocab_size)


@pytest.fixture(params=[PlainDecoder, InParts, fast.decoder], scope="module")
def shared(request, model_directory, classifier_directory):
    """An engine that remembers nothing, over each kind of decoder."""
    limits = Limits(draft_bytes=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "decoder", request.param)
        names = str(model_directory), str(classifier_directory)
        made = Engine.load(*names, device="cpu", limits=limits)
        yield made
    made.close()


@pytest.fixture
def reads(shared, monkeypatch):
    """What was read in each step: of each text how many tokens; each step takes 2 ms longer."""
    seen, decoder = [], shared.library.get("tiny").decoder
    read = decoder.read

    def watched(feeds):
        time.sleep(0.002)
        seen.append([len(feed.ids) for feed in feeds])
        return read(feeds)

    monkeypatch.setattr(decoder, "read", watched)
    return seen


def start(engine, request, **options):
    return engine.writer.start(request, engine.writer.begin(request), **options)


@contextmanager
def held(engine):
    """The model thread stands still within."""
    reached, release = threading.Event(), threading.Event()

    def hold():
        reached.set()
        release.wait(60)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(engine.library.scheduler.run, hold)
        reached.wait(60)
        try:
            yield
        finally:
            release.set()


def write(engine, request, **options):
    """The updates of a text."""
    return list(engine.writer.write(request, engine.writer.begin(request), **options))


def alone(engine, request):
    """The ids and numbers of a text, one token a step by the decoder itself, and what it says."""
    decoder, tokenizer = engine.library.get("tiny").decoder, engine.catalog.tokenizer("tiny")
    ids = list(engine.writer.begin(request).prompt_ids)
    cache, unread, steps = decoder.cache(64), ids, []
    while len(steps) < request.max_new_tokens and len(ids) < 65:
        logits = decoder.read([Feed(cache, unread)])
        (step,) = decoder.choose(logits, [Draw(request.sampling, ids)])
        steps.append(step)
        unread, ids = [step.id], [*ids, step.id]
        text = tokenizer.decode([step.id for step in steps if step.id != ENDOFTEXT_ID])
        if request.stop and request.stop in text:
            return steps, text[: text.index(request.stop)]
        if step.id == ENDOFTEXT_ID:
            break
    return steps, text


def found(updates):
    """The same of updates."""
    updates = list(updates)
    steps = [numbers(update.step) for update in updates]
    return steps, "".join(update.text for update in updates)


def numbers(step):
    """A step without the reason to end."""
    return Step(
        *(getattr(step, name) for name in Step.__dataclass_fields__ if name[:6] != "finish")
    )


def wishes(engine, count, random):
    """Requests of all kinds, with their lone answers."""
    made = []
    for seed in range(count):
        sampling = random.choice(
            [
                GREEDY,
                Sampling(temperature=3.0, top_k=0, seed=seed),
                Sampling(temperature=2.0, top_k=40, repetition_penalty=1.4, seed=seed),
                Sampling(temperature=1.5, top_k=0, top_p=0.7, min_p=0.001, seed=seed),
            ]
        )
        prompt = random.choice(["", "Hello", "One two three", "a b a b a b", " the" * 62])
        request = Request(prompt, random.randint(1, 10), sampling)
        answer = alone(engine, request)
        if random.random() < 0.3 and len(answer[1]) > 4:
            request = Request(prompt, 10, sampling, stop=answer[1][2:4])
            answer = alone(engine, request)
        made.append((request, answer))
    return made


# --- together is as alone --------------------------------------------------------------------


@pytest.mark.slow
def test_in_100_random_mixes_each_text_is_as_if_it_were_alone(shared):
    """Of both decoders: 200. Texts join at any time, and some lose their readers at any token."""
    dice = random.Random(5)
    kinds = wishes(shared, 30, dice)
    for _ in range(100):
        texts = []
        with ExitStack() as stack:
            for request, answer in dice.sample(kinds, dice.randint(2, 5)):
                stream = stack.enter_context(start(shared, request))
                updates = stream.updates()
                count = dice.randint(0, len(answer[0]))
                texts.append((updates, answer, [next(updates) for _ in range(count)]))
                if dice.random() < 0.3:
                    stream.close()
            for updates, (steps, text), seen in texts:
                closed = len(seen) + len(more := list(updates)) < len(steps)
                got_steps, got_text = found([*seen, *more])
                assert got_steps == [numbers(step) for step in steps][: len(got_steps)]
                assert text.startswith(got_text) if closed else got_text == text


def test_texts_share_steps_and_all_of_it_is_done_by_one_thread(shared, monkeypatch):
    threads, sizes, decoder = set(), [], shared.library.get("tiny").decoder
    read = decoder.read

    def watched(feeds):
        threads.add(threading.current_thread().name)
        sizes.append(len(feeds))
        return read(feeds)

    monkeypatch.setattr(decoder, "read", watched)
    requests = [Request("Hello", 12, Sampling(seed=seed)) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        with held(shared):
            streams = list(pool.map(lambda request: start(shared, request), requests))
        list(pool.map(lambda stream: list(stream.updates()), streams))
    assert threads == {"model"}
    assert max(sizes) == 6
    assert len(sizes) < 30


def test_a_scaled_model_is_written_with_beside_the_plain_one(shared):
    off = Scales.of(shared.catalog.config("tiny"), layers={1: 0})
    request = Request("Hello world", 10, LIVELY)
    plain, scaled = (found(write(shared, request, scales=scales)) for scales in (None, off))
    assert plain != scaled
    with start(shared, request) as one, start(shared, request, scales=off) as other:
        pairs = list(zip(one.updates(), other.updates(), strict=True))
    assert found([pair[0] for pair in pairs]) == plain
    assert found([pair[1] for pair in pairs]) == scaled


def test_forced_tokens_are_written_as_ever(shared):
    request = Request("Hello world", 16, LIVELY)
    plain = write(shared, request)
    own = [update.step.id for update in plain]
    for count in (1, 5, 16):
        assert found(write(shared, request, forced=own[:count])) == found(plain)
    other = found(write(shared, request, forced=[*own[:5], 262]))[0]
    assert [step.id for step in other[:6]] == [*own[:5], 262]
    assert other[:5] == found(plain)[0][:5]


# --- who comes and goes ----------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_a_reader_that_is_gone_frees_its_row_and_changes_no_other_text(shared, reads, count):
    leaving, staying = Request("One", 40, LIVELY), Request("Hello", 40, LIVELY)
    answer = alone(shared, staying)
    reads.clear()
    with start(shared, staying) as other:
        with start(shared, leaving) as gone:
            updates = gone.updates()
            for _ in range(count):
                next(updates)
        at = len(reads)
        assert found(other.updates()) == answer_of(answer)
    assert max(map(len, reads[at + 2 :])) == 1  # one step may have been under way


def answer_of(answer):
    return [numbers(step) for step in answer[0]], answer[1]


def test_no_more_texts_are_written_at_once_than_there_are_rows(
    monkeypatch, model_directory, classifier_directory
):
    limits = Limits(rows=2, draft_bytes=0)
    made = Engine.load(str(model_directory), str(classifier_directory), device="cpu", limits=limits)
    decoder, sizes = made.library.get("tiny").decoder, []
    read = decoder.read
    monkeypatch.setattr(decoder, "read", lambda feeds: sizes.append(len(feeds)) or read(feeds))
    requests = [Request("Hello", 5, Sampling(seed=seed)) for seed in range(6)]
    streams = [start(made, request) for request in requests]
    streams[3].close()  # while it waits
    for place, (request, stream) in enumerate(zip(requests, streams, strict=True)):
        updates = list(stream.updates())
        assert found(updates) == (answer_of(alone(made, request)) if place != 3 else ([], ""))
    assert max(sizes) == 2
    made.close()


def test_a_short_text_does_not_wait_for_a_long_one(shared, reads):
    with start(shared, Request("Hello", 60, LIVELY)) as long:
        next(long.updates())
        with held(shared):
            at, short = len(reads), start(shared, Request("One", 3, LIVELY))
        list(short.updates())
        assert len(reads) - at <= 5
        assert len(list(long.updates())) == 59


def test_texts_take_their_steps_together(shared, monkeypatch):
    """Round robin: none is ahead of another that began with it."""
    drawn, decoder = [], shared.library.get("tiny").decoder
    choose = decoder.choose

    def watched(logits, draws):
        time.sleep(0.002)
        drawn.append({draw.sampling.seed for draw in draws})
        return choose(logits, draws)

    monkeypatch.setattr(decoder, "choose", watched)
    requests = [Request("a b c", 20, Sampling(temperature=3.0, top_k=0, seed=s)) for s in range(4)]
    streams = [start(shared, request) for request in requests]
    for stream in streams:
        assert len(list(stream.updates())) == 20
    together = [seeds for seeds in drawn if len(seeds) == 4]
    assert len(together) >= 17
    assert len(drawn) <= 23


def test_a_view_is_drawn_while_eight_texts_are_written(shared, reads):
    requests = [Request("Hello", 60, Sampling(seed=seed)) for seed in range(8)]
    with ExitStack() as stack:
        streams = [stack.enter_context(start(shared, request)) for request in requests]
        for stream in streams:
            next(stream.updates())
        at = len(reads)
        shared.inspector.attention([1, 2, 3], 0, model="tiny")
        assert len(reads) - at <= 2
        assert shared.inspector.classify("Oil prices climb", bulk=True).label
        assert len(reads) - at <= 5
        assert all(len(list(stream.updates())) == 59 for stream in streams)


def test_a_short_job_comes_before_the_parts_of_a_long_one(shared):
    order, scheduler = [], shared.library.scheduler

    def parts():
        for place in range(3):
            time.sleep(0.02)
            order.append(place)
            yield place

    with ThreadPoolExecutor() as pool:
        long = pool.submit(lambda: list(scheduler.parts(parts())))
        bulk = pool.submit(scheduler.run, lambda: time.sleep(0.03), bulk=True)
        while not order:
            time.sleep(0.001)
        scheduler.run(lambda: order.append("short"))
        assert long.result() == [0, 1, 2]
        bulk.result()
    assert order.index("short") < 3


def test_an_error_of_a_job_is_its_askers(shared):
    def fails():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        shared.library.scheduler.run(fails)
    assert shared.library.scheduler.run(lambda: shared.library.scheduler.run(lambda: 3)) == 3


# --- errors ----------------------------------------------------------------------------------


def test_an_error_in_one_text_ends_that_one_alone(shared, monkeypatch):
    decoder = shared.library.get("tiny").decoder
    good = [Request("Hello", 12, Sampling(seed=seed)) for seed in range(3)]
    answers = [answer_of(alone(shared, request)) for request in good]
    choose = decoder.choose

    def broken(logits, draws):
        if any(draw.sampling.seed == 13 and len(draw.seen) > 4 for draw in draws):
            raise FloatingPointError("the model gave logits that are not numbers")
        return choose(logits, draws)

    monkeypatch.setattr(decoder, "choose", broken)
    streams = [start(shared, request) for request in good]
    bad = start(shared, Request("Hello", 12, Sampling(seed=13)))
    with pytest.raises(FloatingPointError):
        list(bad.updates())
    assert [found(stream.updates()) for stream in streams] == answers


@pytest.mark.parametrize("where", ["cache", "read"])
def test_a_text_for_which_there_is_no_memory_ends_alone(shared, monkeypatch, where):
    decoder = shared.library.get("tiny").decoder
    good, bad = Request("Hello", 12, LIVELY), Request("One two", 30, LIVELY)
    answer, real = answer_of(alone(shared, good)), getattr(decoder, where)

    def full(asked):
        feeds = asked if where == "read" else []
        if asked == 32 or any(feed.cache.capacity == 32 for feed in feeds):
            raise MemoryError
        return real(asked)

    monkeypatch.setattr(decoder, where, full)
    with start(shared, good) as stream, start(shared, bad) as broken:
        with pytest.raises(ValueError, match="not enough memory for this at the moment"):
            list(broken.updates())
        assert found(stream.updates()) == answer


# --- models that come and go -----------------------------------------------------------------


def test_a_text_ends_as_it_began_when_its_model_is_forgotten(
    monkeypatch, tmp_path, model_directory, classifier_directory, make_model
):
    monkeypatch.setattr(hub, "CHECKPOINTS", tmp_path)
    config = GPT2Config(n_ctx=64, n_embd=16, n_layer=1, n_head=2)
    weights.save(make_model(config), tmp_path / "other", vocabulary=model_directory)
    limits = Limits(models=1)
    made = Engine.load(str(model_directory), str(classifier_directory), device="cpu", limits=limits)
    request = Request("Hello", 40, LIVELY)
    answer, first = answer_of(alone(made, request)), made.library.get("tiny")
    with start(made, request) as stream:
        updates = stream.updates()
        seen = [next(updates)]
        write(made, Request("Hello", 2, model="other"))
        seen += updates
    assert found(seen) == answer
    assert made.library.get("tiny") is not first
    made.close()


# --- the end ---------------------------------------------------------------------------------


def test_who_still_reads_is_told_that_the_engine_was_closed(model_directory, classifier_directory):
    made = Engine.load(str(model_directory), str(classifier_directory), device="cpu")
    with start(made, Request("Hello", 60, LIVELY)) as stream:
        made.close()
        with pytest.raises(RuntimeError, match="the engine was closed"):
            list(stream.updates())
    with pytest.raises(RuntimeError, match="the engine was closed"):
        write(made, Request("Hello", 5))


SCRIPT = """
import sys, threading, time
from gpt2.engine import Engine, Request
engine = Engine.load(*sys.argv[1:3], device="cpu")
decoder = engine.library.get(engine.catalog.models[0]).decoder
read = decoder.read
decoder.read = lambda feeds: time.sleep(0.05) or read(feeds)
request = Request("Hello", 60)
text = engine.writer.start(request, engine.writer.begin(request))
next(text.updates())
print("writing", flush=True)
if sys.argv[3] == "wait":
    list(text.updates())
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["leave", "wait"])
def test_a_program_ends_at_once_with_texts_under_way(
    root, model_directory, classifier_directory, way
):
    command = [sys.executable, "-c", SCRIPT, model_directory, classifier_directory, way]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=root, **pipes) as process:
        assert process.stdout.readline() == "writing\n"
        at = time.monotonic()
        if way == "wait":
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert time.monotonic() - at < 2.5  # the text would have taken 3 s
    if way == "leave":
        assert (process.returncode, errors) == (0, "")
    else:
        assert errors.strip().endswith("KeyboardInterrupt")


# --- how much is read ------------------------------------------------------------------------


class Unread:
    def __init__(self, unread):
        self.unread = unread


@pytest.mark.parametrize(
    ("unread", "in_parts", "read"),
    [
        ([1, 1, 1], True, [1, 1, 1]),
        ([1000], True, [ALONE]),
        ([1000], False, [1000]),
        ([1, 1000], True, [1, CHUNK]),
        ([1, 1000], False, [1, 1000]),
        ([1000, 1, 20, 30], True, [1, 20, 30, CHUNK - 50]),  # short prompts first
        ([1000, 1, 20, 30], False, [1, 20, 30, 1000]),
        ([1000, 1, 200, 30], True, [1, 30, CHUNK - 30]),
        ([1000, 1, 200, 30], False, [1, 30, 200]),
    ],
)
def test_prompts_are_read_without_the_others_waiting_long(unread, in_parts, read):
    rows = [Unread(count) for count in unread]
    chosen = portions(rows, in_parts=in_parts)
    assert [count for _, count in chosen] == read
    assert all(count == row.unread or (in_parts and row.unread > 1) for row, count in chosen)


def test_repetitions_are_guessed_and_save_steps(shared, reads):
    request = Request("a b a b a b a b", 40, GREEDY)
    updates = write(shared, request)
    count = len(reads)
    assert found(updates) == answer_of(alone(shared, request))
    guessed, right = updates[-1].guessed
    if shared.library.get("tiny").decoder.in_parts:
        assert 0 < right <= guessed
        assert count < 40
        assert all(sum(read) <= 8 for read in reads[1:])
    else:
        assert (guessed, right, count) == (0, 0, 40)


@pytest.mark.parametrize("sampling", [GREEDY, LIVELY], ids=["greedy", "lively"])
@pytest.mark.parametrize("alike", [True, False])
def test_a_smaller_model_guesses_and_changes_nothing(
    shared, reads, monkeypatch, make_model, sampling, alike
):
    """One that thinks alike saves steps; another one is soon not asked any more."""
    loaded = shared.library.get("tiny")
    model = loaded.backbone if alike else make_model(loaded.backbone.config, seed=77)
    smaller = type(loaded.decoder)(model) if loaded.decoder.in_parts else None
    monkeypatch.setattr(shared.library, "smaller", lambda name: smaller)
    request = Request("It was", 40, sampling)
    updates = write(shared, request)
    count = len(reads)
    assert found(updates) == answer_of(alone(shared, request))
    guessed, right = updates[-1].guessed
    if smaller is None:
        assert (guessed, right) == (0, 0)
    elif alike:
        assert 20 < right <= guessed  # repetitions are guessed first, and may be wrong
        assert count < 20
    elif sampling == LIVELY:
        assert right < guessed < 20


# --- on a clock ------------------------------------------------------------------------------


def update(token):
    step = Step(token, 0.5, 0.5, math.log(0.5), 1, 1.0, (token,), (0.5,), (0.5,))
    return Update(step, "x", "", 0.0)


def test_a_loop_is_woken_by_the_first_token_and_the_end_alone():
    async def read(stream):
        loop, woken = asyncio.get_running_loop(), []
        call = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *args: woken.append(args) or call(*args)
        batches = [
            (loop.time(), [one.step.id for one in batch]) async for batch in stream.batches(0.1)
        ]
        return batches, len(woken)

    stream = Stream()

    def write():
        time.sleep(0.05)
        for token in range(9):
            stream.put(update(token))
            time.sleep(0.02)
        stream.end()

    writer = threading.Thread(target=write)
    writer.start()
    batches, woken = asyncio.run(read(stream))
    writer.join()
    assert batches[0][1] == [0]
    assert [token for _, batch in batches for token in batch] == list(range(9))
    assert len(batches) <= 4
    assert batches[1][0] - batches[0][0] >= 0.09
    assert woken <= 2


def test_a_loop_gets_the_error_after_all_that_came_before_it():
    stream = Stream()
    stream.put(update(1))
    stream.end(MemoryError())
    seen = []

    async def read():
        async for batch in stream.batches(0.01):
            seen.extend(batch)

    with pytest.raises(MemoryError):
        asyncio.run(read())
    assert [one.step.id for one in seen] == [1]


def test_of_a_branch_the_choice_is_the_first_news():
    stream = Stream(first=3)
    for token in range(3):
        assert not stream.begun
        stream.put(update(token))
    stream.end()
    assert [len(batch) for batch in collected(stream.batches(1.0))] == [3]


def test_a_reader_in_a_loop_that_is_gone_frees_its_row(shared, reads):
    async def leave():
        with start(shared, Request("Hello", 60, LIVELY)) as stream:
            async for _ in stream.batches(0.01):
                break

    asyncio.run(leave())
    at = len(reads)
    time.sleep(0.05)
    assert len(reads) <= at + 1
