"""gpt2.engine.replica: what another process answers, asked here without one."""

import asyncio
from importlib.util import find_spec

import pytest

import app
from gpt2.engine import Limits, Request
from gpt2.engine.replica import Replica, Settings
from gpt2.sampling import Sampling

REQUEST = Request("Hello world", 30, Sampling(temperature=1.5, top_k=0, seed=7), stop="zz")


@pytest.fixture(scope="module")
def replica(model_directory, classifier_directory):
    names = str(model_directory), str(classifier_directory)
    limits = Limits(seconds=20.0)
    return Replica(Settings(*names, device="cpu", dtype="auto", limits=limits), threads=1)


def written(replica, begun, *, forced=(), spent=0.0):
    """All updates of a text."""

    async def listen():
        answer = replica.write(REQUEST, begun, None, forced, spent)
        return [update async for some in answer for update in some]

    return asyncio.run(listen())


@pytest.mark.parametrize("arrived", [0, 1, 9, 29])
def test_a_text_whose_replica_was_lost_goes_on_as_it_would_have(replica, engine, arrived):
    begun = engine.writer.begin(REQUEST)
    whole = written(replica, begun)
    forced = [update.step.id for update in whole[:arrived]]
    again = written(replica, begun, forced=forced, spent=3.0)
    assert [update.step for update in again] == [update.step for update in whole]
    assert [update.text for update in again] == [update.text for update in whole]
    assert again[-1].finish_reason == whole[-1].finish_reason == "length"


def test_the_time_that_a_lost_replica_took_counts(replica, engine):
    begun = engine.writer.begin(REQUEST)
    update, *_ = written(replica, begun, spent=3.0)
    assert 3.0 < update.seconds < 10.0
    (only,) = written(replica, begun, spent=20.0)
    assert only.finish_reason == "deadline"


def test_a_method_answers_and_its_errors_are_its_own(replica, engine):
    ids = engine.catalog.encode("Hello world", model="tiny")
    asked = ("inspector", "rollout", (ids,), {"model": "tiny"})
    here = engine.inspector.rollout(ids, model="tiny")
    assert (asyncio.run(replica.ask(*asked)) == here).all()
    with pytest.raises(ValueError, match="no model 'nobody'"):
        asyncio.run(replica.have("nobody"))


@pytest.mark.skipif(bool(find_spec("ray")), reason="Ray is here")
def test_without_ray_one_sentence_says_so(model_directory, classifier_directory, capsys):
    names = ["--model", str(model_directory), "--classifier", str(classifier_directory)]
    assert app.main([*names, "--replicas", "2"]) == 1
    said = 'app.py: --replicas needs Ray, which is missing here; pip install "ray[serve]"\n'
    assert capsys.readouterr().err == said


def test_no_replicas_are_no_page(capsys):
    with pytest.raises(SystemExit, match="2"):
        app.main(["--replicas", "0"])
    assert "--replicas is 0; it must be at least 1" in capsys.readouterr().err
