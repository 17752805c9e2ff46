"""gpt2.evaluate: its figures are those of transformers, computed one prediction at a time."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from gpt2 import evaluate, weights
from gpt2.agnews.news import AGNEWS_LABELS
from gpt2.data import read_tokens
from gpt2.weights.vocabulary_files import keep_max_length

pytestmark = pytest.mark.slow  # whole programs

TEXT = (
    "The harbour was quiet that morning. Boats lay side by side, and nobody spoke.\n\n"
    "“You again!” said the woman at the counter; she had seen him twice before, in 1987 and 1993.\n"
    "He paid for the bread, took the change — four coins — and went out into the rain. "
    "It rained all week. On Friday the river rose above the lower road, and the school closed. "
    "Children sat in kitchens and played cards; their parents listened to the radio.\n"
)
LAMBADA = [
    "He asked her to come to the party, but she did not want to go to the party",
    "The dog ran across the road and into the park, and the boy ran after the dog",
    "In the morning they went to the harbour to see the ships sail with Bartholomew",
    "She opened the door and looked into the",
]


@pytest.fixture(scope="module")
def load():
    """load(directory): transformers' language model of a directory."""
    from transformers import GPT2LMHeadModel

    return lambda directory: GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32).eval()


@torch.no_grad()
def next_logprobs(theirs, ids):
    """[V]: log-probabilities of the token after ids."""
    return theirs(torch.tensor([ids])).logits[0, -1].log_softmax(-1)


def run(capsys, *words):
    """The object that the command prints."""
    assert evaluate.main([str(word) for word in words]) == 0
    return json.loads(capsys.readouterr().out)


# --- perplexity of a text ---------------------------------------------------------------------


def brute_force(theirs, ids, *, n_ctx, stride):
    """Mean negative log-likelihood: each token after the earliest window that reaches it."""
    total = 0.0
    for i in range(1, len(ids)):
        start = max(0, math.ceil((i - n_ctx) / stride)) * stride
        total -= float(next_logprobs(theirs, ids[start:i])[ids[i]])
    return total / (len(ids) - 1)


@pytest.mark.parametrize("stride", [None, 64, 17, 1])
def test_windows_and_strides_are_those_of_a_brute_force(
    model_directory, tokenizer, load, tmp_path, capsys, stride
):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    options = ["--stride", stride] if stride else []
    found = run(capsys, "--model", model_directory, "--text", tmp_path / "text.txt", *options)
    ids = [50256, *tokenizer.encode(TEXT)]
    assert len(ids) > 100
    nll = brute_force(load(model_directory), ids, n_ctx=64, stride=stride or 64)
    assert found["tokens"] == len(ids) - 1
    assert found["nll"] == pytest.approx(nll, abs=2e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nll), rel=1e-4)
    bits = nll * (len(ids) - 1) / math.log(2) / len(TEXT.encode())
    assert found["bits_per_byte"] == pytest.approx(bits, rel=1e-5)
    assert found["protocol"] == f"windows of 64 tokens, stride {stride or 64}, after <|endoftext|>"


def test_a_text_that_ends_where_a_window_does(model_directory, tokenizer, load, tmp_path, capsys):
    """64, 65 and 66 tokens with <|endoftext|>: the last window has 63, 64 and one."""
    theirs = load(model_directory)
    for length in (63, 64, 65):
        text = tokenizer.decode(tokenizer.encode(TEXT)[:length])
        ids = [50256, *tokenizer.encode(text)]
        assert len(ids) == length + 1
        (tmp_path / "text.txt").write_text(text, encoding="utf-8")
        for stride in (64, 30):
            path = tmp_path / "text.txt"
            found = run(capsys, "--model", model_directory, "--text", path, "--stride", stride)
            nll = brute_force(theirs, ids, n_ctx=64, stride=stride)
            assert found["tokens"] == length
            assert found["nll"] == pytest.approx(nll, abs=2e-5)


def test_the_shipped_models_perplexity_is_transformers(
    vocabulary, tokenizer, load, tmp_path, capsys
):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    found = run(capsys, "--model", "mini", "--text", tmp_path / "text.txt")
    ids = torch.tensor([[50256, *tokenizer.encode(TEXT)]])
    with torch.no_grad():
        loss = load(vocabulary)(ids, labels=ids).loss
    assert found["nll"] == pytest.approx(float(loss), abs=2e-5)
    assert found["perplexity"] < 200


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_fewer_bits_hardly_change_the_shipped_models_perplexity(tmp_path, capsys, dtype):
    """By a tenth of a percent on long texts; so short a one varies more."""
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    words = ("--model", "mini", "--device", "cpu", "--text", tmp_path / "text.txt")
    exact, found = run(capsys, *words), run(capsys, *words, "--dtype", dtype)
    assert found["perplexity"] != exact["perplexity"]
    assert found["perplexity"] == pytest.approx(exact["perplexity"], rel=0.01)


# --- LAMBADA ----------------------------------------------------------------------------------


def test_lambada_on_the_shipped_model_is_transformers(
    vocabulary, tokenizer, load, tmp_path, capsys
):
    path = tmp_path / "lambada.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in LAMBADA))
    found = run(capsys, "--model", "mini", "--lambada", path)
    theirs = load(vocabulary)
    last_token, last_word, total, lengths = [], [], 0.0, []
    for text in LAMBADA:
        context, word = text.rsplit(" ", 1)
        ids, answer = tokenizer.encode(context), tokenizer.encode(f" {word}")
        right = []
        for token in answer:
            logprobs = next_logprobs(theirs, ids)
            right.append(int(logprobs.argmax()) == token)
            total -= float(logprobs[token])
            ids.append(token)
        last_token.append(right[-1])
        last_word.append(all(right))
        lengths.append(len(answer))
    assert max(lengths) > 1
    assert found["rows"] == len(LAMBADA)
    assert found["accuracy_last_token"] == np.mean(last_token)
    assert found["accuracy_last_word"] == np.mean(last_word)
    assert found["perplexity"] == pytest.approx(math.exp(total / len(LAMBADA)), rel=1e-3)
    assert "greedy" in found["protocol"]


def test_lambada_longer_than_the_context_keeps_all_of_it(
    model_directory, tokenizer, load, tmp_path, capsys
):
    """The last token is predicted and not read, so that the context holds 64 others."""
    text = " ".join(TEXT.split())
    path = tmp_path / "lambada.jsonl"
    path.write_text(json.dumps({"text": text}))
    context, word = text.rsplit(" ", 1)
    answer = tokenizer.encode(f" {word}")
    ids = tokenizer.encode(context) + answer
    theirs, total = load(model_directory), 0.0
    for i in range(len(ids) - len(answer), len(ids)):
        total -= float(next_logprobs(theirs, ids[len(ids) - 65 : i])[ids[i]])
    found = run(capsys, "--model", model_directory, "--lambada", path)
    assert found["perplexity"] == pytest.approx(math.exp(total), rel=1e-3)


# --- a text is a text ---------------------------------------------------------------------


def test_documents_are_parted_by_the_end_token_as_in_pretraining(
    model_directory, tokenizer, tmp_path, capsys
):
    """The separators were dropped, and the documents ran together."""
    path = tmp_path / "a.txt"
    path.write_text("One story.\n<|endoftext|>\n\nAnother one.\n<|endoftext|>\n")
    found = run(capsys, "--model", model_directory, "--text", path)
    joined = tmp_path / "b.txt"
    joined.write_text("One story.<|endoftext|>Another one.")
    same = run(capsys, "--model", model_directory, "--text", joined)
    assert (found["tokens"], found["nll"]) == (same["tokens"], same["nll"])
    assert "2 documents parted by it" in found["protocol"]
    ids = read_tokens(path, tokenizer).tolist()
    assert ids == [*tokenizer.encode(joined.read_text()), tokenizer.end_id]


def test_a_byte_order_mark_is_no_text(model_directory, tmp_path, capsys):
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    (tmp_path / "b.txt").write_bytes(TEXT.encode("utf-16"))
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in LAMBADA))
    lines = "\ufeff" + "\r\n\r\n".join(json.dumps({"text": t}) for t in LAMBADA)
    (tmp_path / "d.jsonl").write_bytes(lines.encode())
    for flag, first, second in (("--text", "a.txt", "b.txt"), ("--lambada", "c.jsonl", "d.jsonl")):
        run_one = [run(capsys, "--model", model_directory, flag, tmp_path / n)
                   for n in (first, second)]  # fmt: skip
        assert run_one[0] == run_one[1]


def test_a_perplexity_past_all_floats_is_null_beside_its_logarithm(
    model_directory, tmp_path, capsys
):
    """A model that is that wrong ended in an OverflowError."""
    model = weights.load_language_model(model_directory)
    with torch.no_grad():
        model.ln_f.weight *= 1e5
    weights.save(model, tmp_path / "m", vocabulary=model_directory)
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "l.jsonl").write_text(json.dumps({"text": LAMBADA[0]}))
    for words in (["--text", tmp_path / "a.txt"], ["--lambada", tmp_path / "l.jsonl"]):
        found = run(capsys, "--model", tmp_path / "m", *words)
        assert found["perplexity"] is None
        assert found["nll"] > 709


def test_weights_that_give_no_numbers_end_in_one_sentence(model_directory, tmp_path, capsys):
    model = weights.load_language_model(model_directory)
    with torch.no_grad():
        model.ln_f.weight *= 1e38
    weights.save(model, tmp_path / "m", vocabulary=model_directory)
    (tmp_path / "a.txt").write_text(TEXT)
    words = ["--model", str(tmp_path / "m"), "--text", str(tmp_path / "a.txt")]
    assert evaluate.main(words) == 1
    assert "logits that are not numbers" in capsys.readouterr().err.splitlines()[-1]


# --- AG News ----------------------------------------------------------------------------------

NEWS = [
    (1, "Talks resume", "Ministers met in Geneva on Monday to resume talks."),
    (2, "Late goal wins cup final", "A goal in the last minute decided the final."),
    (3, "Oil prices climb", "Crude rose 3 percent as stocks fell, traders said."),
    (4, "Probe reaches orbit", "The spacecraft sent its first pictures of the planet."),
    (2, "Coach resigns", "After six defeats the coach stepped down on Sunday."),
    (3, "Bank cuts jobs", ""),
]


def test_accuracy_and_f1_of_a_classifier_are_transformers(classifier_directory, tmp_path, capsys):
    from transformers import GPT2ForSequenceClassification, GPT2TokenizerFast

    path = tmp_path / "test.csv"
    path.write_text("".join(f'"{c}","{title}","{text}"\n' for c, title, text in NEWS))
    found = run(capsys, "--model", classifier_directory, "--agnews", path, "--max-length", 11)
    theirs = GPT2ForSequenceClassification.from_pretrained(classifier_directory).eval()
    files = [str(classifier_directory / name) for name in ("vocab.json", "merges.txt")]
    tokenizer = GPT2TokenizerFast(*files)
    guesses = []
    for _, title, text in NEWS:
        ids = tokenizer(f"{title} {text}".strip())["input_ids"][:11]
        with torch.no_grad():
            guesses.append(int(theirs(torch.tensor([ids])).logits.argmax()))
    labels = [c - 1 for c, _, _ in NEWS]
    pairs = list(zip(guesses, labels, strict=True))
    assert found["rows"] == 6
    assert found["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / 6)
    f1 = []
    for label in range(4):
        both = sum(a == b == label for a, b in pairs)
        named = guesses.count(label) + labels.count(label)
        f1.append(2 * both / named if named else 0.0)
    occurring = [score for i, score in enumerate(f1) if i in {*guesses, *labels}]
    assert found["macro_f1"] == pytest.approx(np.mean(occurring))
    assert "first 11 tokens" in found["protocol"]


def reordered(classifier_directory, target, labels):
    """The same classifier with its rows in another order, and maybe more of them."""
    model = weights.load_classifier(classifier_directory)
    old = model.transformer.config.labels
    model.transformer.config = replace(model.transformer.config, labels=labels)
    rows = [model.score.weight[old.index(name)] if name in old else -model.score.weight.sum(0)
            for name in labels]  # fmt: skip
    model.score = torch.nn.Linear(len(rows[0]), len(rows), bias=False)
    model.score.weight.data = torch.stack(rows).detach()
    weights.save(model, target, vocabulary=classifier_directory)
    return target


def test_a_classifier_with_its_labels_in_another_order_scores_the_same(
    classifier_directory, tmp_path, capsys
):
    """It scored 0.0 and said nothing."""
    path = tmp_path / "test.csv"
    path.write_text("".join(f'"{c}","{title}","{text}"\n' for c, title, text in NEWS))
    theirs = reordered(classifier_directory, tmp_path / "m", AGNEWS_LABELS[::-1])
    first, second = (
        run(capsys, "--model", model, "--agnews", path) for model in (classifier_directory, theirs)
    )
    assert first.pop("labels") == second.pop("labels")
    assert first["confusion"] == second["confusion"]
    assert first["nll"] == pytest.approx(second["nll"])
    wrong = ",".join(AGNEWS_LABELS[::-1])
    by_hand = run(capsys, "--model", theirs, "--agnews", path, "--labels", wrong)
    assert by_hand["confusion"] != first["confusion"]
    assert by_hand["labels"]["World"] == "Sci/Tech"


def test_an_answer_that_is_no_class_of_the_file_is_wrong(classifier_directory, tmp_path, capsys):
    path = tmp_path / "test.csv"
    path.write_text("".join(f'"{c}","{title}","{text}"\n' for c, title, text in NEWS))
    labels = ("Weather", *AGNEWS_LABELS)
    five = reordered(classifier_directory, tmp_path / "m", labels)
    found = run(capsys, "--model", five, "--agnews", path)
    assert list(found["per_class"]) == [*AGNEWS_LABELS, "Weather"]
    assert sum(map(sum, found["confusion"])) == len(NEWS)
    four = run(capsys, "--model", classifier_directory, "--agnews", path)
    assert found["accuracy"] <= four["accuracy"]


def test_a_classifier_is_read_as_far_as_it_was_trained(classifier_directory, tmp_path, capsys):
    """Trained on 5 tokens, it was measured on 128."""
    path = tmp_path / "test.csv"
    path.write_text("".join(f'"{c}","{title}","{text}"\n' for c, title, text in NEWS))
    model = shutil.copytree(classifier_directory, tmp_path / "m")
    assert "first 64 tokens" in run(capsys, "--model", model, "--agnews", path)["protocol"]
    keep_max_length(model, 5)
    found = run(capsys, "--model", model, "--agnews", path)
    assert "first 5 tokens" in found["protocol"]
    asked = run(capsys, "--model", model, "--agnews", path, "--max-length", 5)
    assert found == asked
    keep_max_length(model, 10**30)  # as transformers writes "no limit"
    assert "first 64 tokens" in run(capsys, "--model", model, "--agnews", path)["protocol"]


# --- what can't be measured -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "mention"),
    [
        (b"", "has no rows"),
        (b"Once upon a time", "line 1 is no object"),
        (b'{"text": "a b"}\n{"txt": "a b"}\n', "line 2 is no object"),
        (b'{"text": 5}', "line 1 is no object"),
        (b'{"text": "word"}', "line 1 has no word before the last one"),
        (b'{"text": "\xff a"}', "line 1 is not UTF-8"),
        (b'\xef\xbb\xbf{"text": "a b"}\n\n\n{"text": "c d", }', "line 4 is no object"),
        (b'{"text": "a \\ud800"}', "line 1: character 3 of the text is a lone surrogate"),
    ],
)
def test_a_file_that_is_no_lambada_is_named_with_its_line(
    model_directory, tmp_path, capsys, content, mention
):
    path = tmp_path / "lambada.jsonl"
    path.write_bytes(content)
    assert evaluate.main(["--model", str(model_directory), "--lambada", str(path)]) == 1
    text = capsys.readouterr().err.splitlines()[-1]
    assert text.startswith("gpt2.evaluate: ")
    assert mention in text
    assert str(path) in text


@pytest.mark.parametrize(
    ("options", "mention"),
    [
        (["--text", "{tmp}/none.txt"], "none.txt does not exist"),
        (["--text", "{tmp}/empty.txt"], "empty.txt is empty"),
        (["--text", "{tmp}/news.csv", "--stride", "65"], "stride is 65; it must be 1 to 64"),
        (["--text", "{tmp}/news.csv", "--stride", "0"], "stride is 0; it must be 1 to 64"),
        (["--text", "{tmp}"], "is a directory"),
        (["--lambada", "{tmp}/none.jsonl"], "none.jsonl does not exist"),
        (["--agnews", "{tmp}/news.csv"], "is a language model, no classifier"),
    ],
)
def test_bad_arguments_end_in_one_sentence(model_directory, tmp_path, capsys, options, mention):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "news.csv").write_text('"1","a","b"\n')
    options = [option.format(tmp=tmp_path) for option in options]
    assert evaluate.main(["--model", str(model_directory), *options]) == 1
    assert mention in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("length", ["0", "-3", "65"])
def test_a_length_outside_the_context_is_refused(classifier_directory, tmp_path, capsys, length):
    (tmp_path / "news.csv").write_text('"1","a","b"\n')
    words = ["--agnews", str(tmp_path / "news.csv"), "--max-length", length]
    assert evaluate.main(["--model", str(classifier_directory), *words]) == 1
    assert f"--max-length is {length}; it must be 1 to 64" in capsys.readouterr().err
