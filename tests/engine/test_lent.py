"""gpt2.engine.lent: copies of the process answer as one engine does, and all that crosses is plain.

Their lender here forks for real and pickles both ways as `spaces` does, without its GPU;
tests/test_space.py has the page run over that package itself.
"""

import inspect
import multiprocessing
import os
import pickle
import signal
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec

import gradio as gr
import pytest
from questions import VIEWS, WRONG, same, texts

import app
from gpt2.config import SIZES
from gpt2.engine import Closed, Limits, Request
from gpt2.engine.catalog import Catalog
from gpt2.engine.copies import Call
from gpt2.engine.inspector import Inspector
from gpt2.engine.lent import START, LentGPU, seconds_for, work_of
from gpt2.engine.remote import RemoteEngine
from gpt2.engine.replica import Settings
from gpt2.records import METHODS
from gpt2.sampling import Sampling
from gpt2.space import on_zerogpu

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # since 3.12
FORK = multiprocessing.get_context("fork")
VISITOR = ContextVar("visitor", default="nobody")
LONG = Request("Hello world", 60, Sampling(seed=3))


class Copy:
    """A forked process that answers one call after another."""

    def __init__(self, task):
        self.there, child = FORK.Pipe()
        self.stopped = FORK.Event()
        self.process = FORK.Process(target=self._work, args=(task, child), daemon=True)
        self.process.start()
        child.close()

    def _work(self, task, child):
        self.there.close()
        while True:
            answers = task(child.recv())
            for answer in answers:
                if self.stopped.is_set():
                    answers.close()
                    break
                child.send_bytes(plain(answer))
            child.send_bytes(pickle.dumps(None))


class Lender:
    """In the place of spaces.GPU."""

    def __init__(self):
        self.idle, self.asked, self.visitors, self.refusal = [], [], [], None
        self._forking = threading.Lock()

    def __call__(self, task, *, duration):
        def lent(call):
            assert duration(call) >= START
            self.asked.append(call)
            self.visitors.append(VISITOR.get())
            if self.refusal:
                raise self.refusal
            with self._forking:
                copy = self.idle.pop() if self.idle else Copy(task)
            copy.stopped.clear()
            try:
                copy.there.send_bytes(plain(call))
                while (answer := pickle.loads(copy.there.recv_bytes())) is not None:
                    yield answer
            except (EOFError, ConnectionError):
                copy = None
                raise gr.Error("GPU task aborted", title="ZeroGPU worker error") from None
            except GeneratorExit:
                copy.stopped.set()
                while pickle.loads(copy.there.recv_bytes()) is not None:
                    pass
                raise
            finally:
                if copy is not None:
                    self.idle.append(copy)

        return lent

    @contextmanager
    def refusing(self, error):
        self.refusal = error
        try:
            yield
        finally:
            self.refusal = None


def plain(record):
    """A record on its way, in which there is no tensor."""
    pickled = pickle.dumps(record)
    assert b"torch" not in pickled
    return pickled


@pytest.fixture(scope="module")
def lender():
    made = Lender()
    yield made
    for copy in made.idle:
        copy.process.kill()
        copy.there.close()


@pytest.fixture(scope="module")
def lent(model_directory, classifier_directory, lender):
    """The tiny models, in copies of this process."""
    limits, names = Limits(), (str(model_directory), str(classifier_directory))
    settings = Settings(*names, device="cpu", dtype="auto", limits=limits)
    before = threading.active_count()
    catalog = Catalog(*names, limits)
    made = RemoteEngine(catalog, LentGPU(settings, catalog, lender))
    assert threading.active_count() == before  # no model thread, and no pool
    return made


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_the_same_from_a_copy(lent, engine, view):
    assert same(VIEWS[view](lent.inspector), VIEWS[view](engine.inspector))


def test_every_view_there_is_was_asked():
    methods = {name for name, _ in inspect.getmembers(Inspector, inspect.isfunction)}
    assert {name for name in methods if name[0] != "_"} - {"attributions"} <= {*VIEWS}
    assert {*METHODS} < {*VIEWS}


def test_texts_and_branches_are_the_same_from_a_copy(lent, engine):
    assert same(texts(lent), texts(engine))


@pytest.mark.parametrize("wrong", WRONG)
def test_an_error_has_its_words(lent, engine, wrong):
    with pytest.raises(ValueError) as here:
        WRONG[wrong](engine)
    with pytest.raises(ValueError) as there:
        WRONG[wrong](lent)
    assert str(there.value) == str(here.value)


def test_what_needs_no_gpu_takes_none(lent, lender, engine):
    """A visitor has minutes of it a day."""
    before = len(lender.asked)
    assert lent.describe() == engine.describe()
    assert lent.writer.begin(LONG) == engine.writer.begin(LONG)
    lent.library.get("tiny")
    assert lent.pulse().alive
    assert len(lender.asked) == before


def test_who_stops_listening_ends_the_work_and_the_copy_answers_others(lent, lender):
    before = len(lender.idle)
    with lent.writer.start(LONG, lent.writer.begin(LONG)) as text:
        next(text.updates())
        assert lent.pulse().writing == 1
    while lent.pulse().writing:
        pass
    assert len(lender.idle) == max(1, before)
    assert lent.inspector.score("It rains.").logprobs.size


def test_a_copy_that_is_cut_off_is_told_in_words_and_the_next_one_answers(lent, lender, engine):
    lent.inspector.score("It rains.")
    (copy,) = lender.idle
    os.kill(copy.process.pid, signal.SIGSTOP)
    with lent.writer.start(LONG, lent.writer.begin(LONG)) as text:
        os.kill(copy.process.pid, signal.SIGKILL)
        with pytest.raises(ValueError, match="ZeroGPU worker error: GPU task aborted"):
            list(text.updates())
    copy.process.join()
    copy.there.close()
    assert same(lent.inspector.score("It rains."), engine.inspector.score("It rains."))


def test_an_unforeseen_error_keeps_its_words_from_the_page(lent):
    with pytest.raises(RuntimeError, match="rollout"):
        lent.replicas.call("ask", "inspector", "rollout", (), {"model": "tiny"})
    assert lent.inspector.score("It rains.").logprobs.size


def test_a_refusal_is_told_in_the_space_s_words(lent, lender):
    words = "You have exceeded your free ZeroGPU quota (9s requested vs. 2s left)."
    with lender.refusing(gr.Error(words, title="ZeroGPU quota exceeded")):
        with pytest.raises(ValueError, match="ZeroGPU quota exceeded: You have exceeded"):
            lent.inspector.score("It rains.")
        with pytest.raises(ValueError, match="9s requested"):
            list(lent.generate(LONG))


def test_gpu_time_is_the_visitor_s_who_asked(lent, lender):
    """Gradio knows in its context whose request it is, and `spaces` asks there."""
    token = VISITOR.set("Ann")
    try:
        list(lent.generate(LONG))
    finally:
        VISITOR.reset(token)
    assert lender.visitors[-1] == "Ann"


def test_the_time_asked_for_grows_with_the_work_and_has_a_bound():
    """Who asks for less waits less, and is refused later."""
    small, large = SIZES["124M"], SIZES["1558M"]
    text = seconds_for(60, small, most=60.0)
    assert seconds_for(1, small, most=60.0) <= text <= START + 1
    assert (
        text < seconds_for(512, small, most=60.0) < seconds_for(512, large, most=60.0) < START + 20
    )
    assert seconds_for(10**6, small, most=8.0) == START + 8


def test_the_work_of_a_call_is_known_before_it_is_sent(lent):
    begun = lent.writer.begin(LONG)
    assert work_of(Call("write", (LONG, begun, None, (), 0.0))) == ("tiny", 60)
    assert work_of(Call("ask", ("inspector", "score", ("It rains.",), {}))) == ("", 1)
    named = {"model": "tiny", "method": METHODS[0]}
    _, passes = work_of(Call("ask_parts", ("inspector", "attributions", (), named)))
    assert passes > 100


@pytest.mark.skipif(bool(find_spec("spaces")), reason="spaces is here")
def test_without_its_package_one_sentence_says_so(monkeypatch, capsys):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert app.main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith("app.py: a ZeroGPU Space lends its GPU through the package spaces")
    assert said.endswith("pip install spaces\n")


def test_what_was_closed_asks_for_no_gpu(model_directory, classifier_directory, lender):
    limits, names = Limits(), (str(model_directory), str(classifier_directory))
    settings = Settings(*names, device="cpu", dtype="auto", limits=limits)
    catalog = Catalog(*names, limits)
    closed = RemoteEngine(catalog, LentGPU(settings, catalog, lender))
    before = len(lender.asked)
    closed.close()
    with pytest.raises(Closed):
        closed.inspector.score("It rains.")
    with pytest.raises(Closed):
        list(closed.generate(LONG))
    assert not closed.pulse().alive
    assert len(lender.asked) == before


@pytest.mark.parametrize(
    ("said", "means"), [("true", True), ("1", True), ("", False), ("false", False), (None, False)]
)
def test_a_zerogpu_space_is_known_by_its_environment(monkeypatch, said, means):
    if said is None:
        monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    else:
        monkeypatch.setenv("SPACES_ZERO_GPU", said)
    assert on_zerogpu() is means
