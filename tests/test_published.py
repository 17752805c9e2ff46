"""OpenAI's own 124M, wherever it is: set GPT2_124M to its directory or TensorFlow checkpoint.

The texts of the two measurements come from GPT2_WIKITEXT2 (wiki.test.raw) and GPT2_LAMBADA
(lambada_test.jsonl). All of them together take about half an hour on two cores.
"""

import json
import os
from pathlib import Path

import pytest

import convert
from gpt2 import evaluate, prediction, weights
from gpt2.conversion import receipt
from gpt2.generate import generate
from gpt2.sampling import Sampling
from gpt2.tokenizer import ENDOFTEXT_ID

SOURCE = os.environ.get("GPT2_124M", "")

pytestmark = pytest.mark.skipif(
    not SOURCE, reason="the real 124M is not here; GPT2_124M points to no directory"
)


def needs(variable):
    """Skip without the file that an environment variable names."""
    reason = f"{variable} points to no file"
    return pytest.mark.skipif(not os.environ.get(variable), reason=reason)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    out = tmp_path_factory.mktemp("published") / "124M"
    assert convert.main([SOURCE, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def model(directory):
    return weights.load_language_model(directory)


def measured(capsys, directory, *words):
    assert evaluate.main(["--model", str(directory), *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_receipt(directory):
    assert receipt.short(directory).startswith("148 of 148 tensors, max difference ")
    found = receipt.read(directory)
    assert found["parameters"] == 124_439_808
    assert found["exact"] == 148
    assert found["max_logit_difference"] < 1e-3


def test_the_loss_of_a_greeting(model, tokenizer):
    ids = [ENDOFTEXT_ID, *tokenizer.encode("Hello world!")]
    logprobs = prediction.score_tokens(model, ids)[0]
    assert -logprobs.mean() == pytest.approx(5.3318558, abs=4e-5)


def test_alan_turing(model, tokenizer):
    ids = tokenizer.encode("Alan Turing theorized that computers would one day become")
    steps = generate(model, ids, Sampling(temperature=0), max_new_tokens=8)
    text = tokenizer.decode(step.id for step in steps)
    assert text == " the most powerful machines on the planet."


@needs("GPT2_WIKITEXT2")
def test_perplexity_of_wikitext_2(directory, capsys):
    found = measured(capsys, directory, "--text", str(Path(os.environ["GPT2_WIKITEXT2"])))
    assert 29.2 <= found["perplexity"] <= 30.0


@needs("GPT2_LAMBADA")
def test_accuracy_on_lambada(directory, capsys):
    found = measured(capsys, directory, "--lambada", str(Path(os.environ["GPT2_LAMBADA"])))
    assert found["accuracy_last_token"] == pytest.approx(0.4667, abs=0.0005)
    assert found["accuracy_last_word"] == pytest.approx(0.3256, abs=0.0065)
