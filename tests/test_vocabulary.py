"""gpt2.vocabulary: any byte-level BPE, in whichever form a program wrote it down."""

import json
import random
import shutil
from dataclasses import replace

import pytest

import convert
from gpt2 import weights
from gpt2.config import GPT2Config
from gpt2.engine import Engine, Request, Sampling
from gpt2.tokenizer import ENDOFTEXT, Tokenizer, load_tokenizer
from gpt2.weights.vocabulary_files import copy_vocabulary

PROSE = (
    "Der Präsident sagte am Montag, dass die Gespräche über den Haushalt weitergehen müssen. "
    "„Wir sind nicht am Ziel“, sagte sie; 1.250 Menschen standen vor dem Gebäude in der Straße. "
    "La col·lecció és oberta: l'any 1984 hi havia 12 peces, ara n'hi ha més de 300!\n"
    "El niño comió una manzana, ¿verdad? Übermäßig große Äpfel — naïve café 東京 👍🏽\n"
).splitlines(keepends=True) * 3


def texts(count: int = 200) -> list[str]:
    """Texts like those that the vocabularies were trained on, and unlike them."""
    rng = random.Random(5)
    letters = "".join(PROSE) + "xyzŁω한\t\x00\u202e "
    found = ["", " ", "\n\n", f"a{ENDOFTEXT} b", *PROSE[:4]]
    while len(found) < count:
        found.append("".join(rng.choices(letters, k=rng.randint(1, 60))))
    return found


def train(directory, *, size: int = 500, special=(ENDOFTEXT,), alphabet: bool = True, **split):
    """A byte-level BPE trained by the tokenizers library, as its tokenizer.json."""
    from tokenizers import Tokenizer as Theirs
    from tokenizers import decoders, models, pre_tokenizers, trainers

    made = Theirs(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(**({"add_prefix_space": False} | split))
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
        show_progress=False,
    )
    made.train_from_iterator(PROSE, trainer)
    directory.mkdir(parents=True, exist_ok=True)
    made.save(str(directory / "tokenizer.json"))
    return made


def check_equal(ours: Tokenizer, theirs) -> None:
    for text in texts():
        ids = theirs(text)["input_ids"]
        assert ours.encode(text) == ids, ascii(text)
        assert ours.decode(ids) == theirs.decode(ids), ascii(text)


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """A vocabulary of its own with tokens added later. Not to be changed."""
    place = tmp_path_factory.mktemp("german")
    train(place, special=["<s>", "</s>"])
    return place


# --- what transformers writes -----------------------------------------------------------------


@pytest.mark.slow
def test_gpt2s_entries_are_read_however_the_json_is_spelt(vocabulary, tmp_path):
    """save_pretrained writes vocab.json with other blanks; a fine-tuned GPT-2 was refused."""
    ids = json.loads((vocabulary / "vocab.json").read_text(encoding="utf-8"))
    backwards = dict(reversed(ids.items()))
    shutil.copyfile(vocabulary / "merges.txt", tmp_path / "merges.txt")
    for spelt in (json.dumps(ids, indent=1), "\ufeff" + json.dumps(backwards, ensure_ascii=False)):
        (tmp_path / "vocab.json").write_text(spelt, encoding="utf-8")
        assert Tokenizer(tmp_path).encode("Hello, wörld! <|endoftext|>") == Tokenizer(
            vocabulary
        ).encode("Hello, wörld! <|endoftext|>")


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
@pytest.mark.parametrize("header", ["#version: 0.2 - made elsewhere\n", ""])
def test_merges_of_another_checkout_are_the_same_merges(vocabulary, tmp_path, newline, header):
    """git on Windows writes other line ends; some programs leave the first line out."""
    shutil.copyfile(vocabulary / "vocab.json", tmp_path / "vocab.json")
    text = (vocabulary / "merges.txt").read_text(encoding="utf-8").split("\n", 1)[1]
    with open(tmp_path / "merges.txt", "w", encoding="utf-8", newline=newline) as file:
        file.write(header + text)
    assert Tokenizer(tmp_path).encode("## Hello world") == [2235, 18435, 995]


def test_a_directory_of_transformers_5_with_tokenizer_json_alone(vocabulary, tmp_path):
    from transformers import GPT2Tokenizer

    theirs = GPT2Tokenizer.from_pretrained(vocabulary)
    theirs.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    check_equal(Tokenizer(tmp_path), theirs)


@pytest.mark.parametrize("form", ["tokenizer.json", "pair", "both"])
def test_added_tokens_keep_their_ids_in_every_form(vocabulary, tmp_path, form):
    """A chat model's marks and a [PAD] stand behind the vocabulary, and in text are one token."""
    from transformers import GPT2Tokenizer

    theirs = GPT2Tokenizer.from_pretrained(vocabulary)
    theirs.add_special_tokens({"pad_token": "[PAD]"})
    theirs.add_tokens(["<|user|>", "wörld wide"])
    theirs.save_pretrained(tmp_path)
    if form != "tokenizer.json":
        theirs.backend_tokenizer.model.save(str(tmp_path))
    if form == "pair":
        added = theirs.get_added_vocab()
        (tmp_path / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
        (tmp_path / "tokenizer.json").unlink()
    ours = Tokenizer(tmp_path)
    assert ours.vocab_size == 50260
    for text in ("<|user|>hi[PAD][PAD] there", "a wörld wide web", "[PAD", *texts(40)):
        assert ours.encode(text) == theirs(text)["input_ids"], text
    assert [ours.text(i) for i in (50257, 50258, 50259)] == ["[PAD]", "<|user|>", "wörld wide"]


def test_a_token_that_swallows_blanks_swallows_them(vocabulary, tmp_path):
    from tokenizers import AddedToken
    from transformers import GPT2Tokenizer

    theirs = GPT2Tokenizer.from_pretrained(vocabulary)
    theirs.add_tokens([AddedToken("<mask>", lstrip=True), AddedToken("ham", single_word=True)])
    theirs.save_pretrained(tmp_path)
    ours = Tokenizer(tmp_path)
    for text in ("a  <mask> b", "ham hamlet ham.", "<mask><mask>", "x\n <mask>ham"):
        assert ours.encode(text) == theirs(text)["input_ids"], text


# --- vocabularies of others -------------------------------------------------------------------


@pytest.mark.parametrize("split", [{}, {"add_prefix_space": True}])
@pytest.mark.parametrize("form", ["tokenizer.json", "vocab.json", "written here"])
def test_a_vocabulary_trained_elsewhere_gives_its_own_tokens(tmp_path, split, form):
    from transformers import PreTrainedTokenizerFast

    made = train(tmp_path / "a", **split)
    theirs = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=ENDOFTEXT)
    place = tmp_path / "a"
    if form == "vocab.json":
        made.model.save(str(place))
        (place / "tokenizer.json").unlink()
        settings = {"eos_token": ENDOFTEXT, **split}
        (place / "tokenizer_config.json").write_text(json.dumps(settings))
    elif form == "written here":
        (tmp_path / "b").mkdir()
        copy_vocabulary(place, tmp_path / "b")
        (tmp_path / "b" / "tokenizer.json").unlink()
        (tmp_path / "b" / "tokenizer_config.json").write_text(json.dumps(split))
        place = tmp_path / "b"
    ours = Tokenizer(place)
    check_equal(ours, theirs)
    assert ours.end_id == ours.start_id == theirs.eos_token_id


@pytest.mark.slow
def test_ids_that_are_not_in_the_order_of_merges(vocabulary, tmp_path):
    """Ranks come from merges.txt, ids from vocab.json: here in any order."""
    ids = json.loads((vocabulary / "vocab.json").read_text(encoding="utf-8"))
    numbers = list(ids.values())
    random.Random(3).shuffle(numbers)
    shuffled = dict(zip(ids, numbers, strict=True))
    (tmp_path / "vocab.json").write_text(json.dumps(shuffled))
    shutil.copyfile(vocabulary / "merges.txt", tmp_path / "merges.txt")
    entries = {token: entry for entry, token in ids.items()}
    plain, ours = Tokenizer(vocabulary), Tokenizer(tmp_path)
    for text in texts(60):
        assert ours.encode(text) == [shuffled[entries[i]] for i in plain.encode(text)]
        assert ours.decode(ours.encode(text)) == text


def test_merges_are_followed_and_not_only_the_tokens_that_they_make(tmp_path):
    """Two ways lead to "abc" here, and no merge joins a to bc: tiktoken alone would join them."""
    entries = ["a", "b", "c", "bc", "ab", "abc"]
    (tmp_path / "vocab.json").write_text(json.dumps({e: i for i, e in enumerate(entries)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nb c\na b\nab c\n")
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.encode("abc") == [0, 3]
    with pytest.raises(ValueError, match="no token for byte 0x64 of 'bad'"):
        tokenizer.encode("bad")


@pytest.mark.parametrize("size", [300, 800, 2000])
def test_long_words_are_merged_as_short_ones(tmp_path, size):
    from transformers import PreTrainedTokenizerFast

    made = train(tmp_path, size=size)
    theirs, ours = PreTrainedTokenizerFast(tokenizer_object=made), Tokenizer(tmp_path)
    rng = random.Random(size)
    for length in (63, 64, 65, 5000):
        word = "".join(rng.choices("enrsigchundßaü", k=length))
        assert ours.encode(word) == theirs(word)["input_ids"], length


def test_the_names_that_a_configuration_gives_to_begin_and_end(german, tmp_path):
    shutil.copytree(german, tmp_path, dirs_exist_ok=True)
    plain = Tokenizer(tmp_path)
    assert plain.start_id is None
    assert plain.end_id is None
    settings = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "model_max_length": 256}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    told = Tokenizer(tmp_path)
    assert (told.start_id, told.end_id, told.max_length) == (0, 1, 256)
    settings["model_max_length"] = int(1e30)  # transformers' way to write that there is none
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert Tokenizer(tmp_path).max_length is None


def test_a_word_that_a_setting_happens_to_spell_is_no_special_token(vocabulary, tmp_path):
    """ "errors": "replace" stands in every tokenizer_config.json, and replace is a token."""
    copy_vocabulary(vocabulary, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"errors": "replace"}))
    assert Tokenizer(tmp_path).encode("irreplaceable") == Tokenizer(vocabulary).encode(
        "irreplaceable"
    )


# --- refusals ---------------------------------------------------------------------------------


def changed(place, **changes):
    raw = json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))
    for name, value in changes.items():
        *path, last = name.split("__")
        part = raw
        for step in path:
            part = part[step]
        part[last] = value
    (place / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")


NOT_OURS = {
    "another model": ({"model__type": "WordPiece"}, "its model is WordPiece"),
    "byte fallback": ({"model__byte_fallback": True}, "BPE with byte_fallback"),
    "ends of words": ({"model__end_of_word_suffix": "</w>"}, "has a end_of_word_suffix"),
    "another split": ({"pre_tokenizer__type": "Whitespace"}, "splits text with Whitespace"),
    "another case": ({"normalizer": {"type": "Lowercase"}}, "changes text with Lowercase"),
    "around the text": (
        {"post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0]}},
        "puts tokens around every text",
    ),
    "before the text": (
        {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
            }
        },
        "puts tokens around every text",
    ),
    "an id twice": ({"model__vocab__!": 1}, "id 1 is both"),
    "an id that is none": ({"model__vocab__!": "7"}, "has the id '7'"),
    "a merge of nothing": ({"model__merges": [["Q", "QQ"]]}, "merge 1, 'Q' 'QQ': no entry 'QQ'"),
    "no merge": ({"model__merges": ["a b c"]}, "merge 1 is 'a b c'"),
    "no bytes": ({"model__vocab__▁the": 499}, "'▁the' .* is not written in the 256 symbols"),
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_is_no_byte_level_bpe_is_refused_in_one_sentence(german, tmp_path, name):
    shutil.copytree(german, tmp_path, dirs_exist_ok=True)
    changes, words = NOT_OURS[name]
    changed(tmp_path, **changes)
    with pytest.raises(ValueError, match=words) as error:
        Tokenizer(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(vocabulary, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no vocabulary: neither vocab.json and"):
        Tokenizer(tmp_path)
    shutil.copyfile(vocabulary / "vocab.json", tmp_path / "vocab.json")
    with pytest.raises(FileNotFoundError, match=r"merges.txt is missing"):
        Tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ t h\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"merges.txt: merge 2 is 'Ġ t h'"):
        Tokenizer(tmp_path)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1042301\n"


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer.json"])
def test_a_pointer_that_git_lfs_left_is_named_as_one(vocabulary, tmp_path, name):
    copy_vocabulary(vocabulary, tmp_path)
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(ValueError, match=f"{name} is a git-lfs pointer.*git lfs pull"):
        Tokenizer(tmp_path)


def test_a_vocabulary_may_be_smaller_than_the_model_and_never_larger(vocabulary):
    assert load_tokenizer(vocabulary, rows=50304).vocab_size == 50257
    with pytest.raises(ValueError, match="50,257 tokens for a model with embeddings of 65"):
        load_tokenizer(vocabulary, rows=65)


# --- copies -----------------------------------------------------------------------------------


def test_an_old_pair_beside_a_new_tokenizer_json_is_not_copied(german, vocabulary, tmp_path):
    """transformers 5 writes tokenizer.json alone, and reads it first; what stood there stays."""
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(german, source)
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(vocabulary / name, source / name)
    target.mkdir()
    copy_vocabulary(source, target)
    (target / "tokenizer.json").unlink()
    assert Tokenizer(target).encode("Straße") == Tokenizer(german).encode("Straße")


def test_a_vocabulary_of_its_own_is_written_as_openai_reads_it(german, tmp_path):
    copy_vocabulary(german, tmp_path, openai=True)
    lines = (tmp_path / "vocab.bpe").read_text(encoding="utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1:-1]]  # as openai/gpt-2, src/encoder.py
    raw = json.loads((german / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    assert merges == [tuple(pair) for pair in raw["merges"]]
    assert json.loads((tmp_path / "encoder.json").read_text(encoding="utf-8")) == raw["vocab"]


# --- a model of its own -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def german_model(tmp_path_factory, make_model, german):
    """A model with it whose embedding is padded, as nanoGPT pads. Not to be changed."""
    source = tmp_path_factory.mktemp("padded")
    shutil.copytree(german, source, dirs_exist_ok=True)
    (source / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    config = GPT2Config(
        vocab_size=512, n_ctx=48, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1
    )
    weights.save(make_model(config), source / "germany", vocabulary=source)
    return source / "germany"


def test_a_model_with_a_vocabulary_of_its_own_writes_and_is_shown(
    german_model, classifier_directory
):
    engine = Engine.load(str(german_model), str(classifier_directory), device="cpu")
    name = engine.catalog.models[0]
    assert engine.writer.begin(Request("", 5, model=name)).prompt_ids == (0,)
    wild = Sampling(temperature=3.0, top_k=0, seed=4)
    *_, trace = engine.generate(Request("Straße", 40, wild, model=name))
    assert trace.prompt_ids == tuple(Tokenizer(german_model).encode("Straße"))
    assert engine.catalog.decode(trace.ids, model=name) == "Straße" + trace.completion
    drawn = engine.catalog.drawn([*trace.prompt_ids, 505], model=name)
    assert drawn == [*engine.catalog.texts(trace.prompt_ids, model=name), "⟨505⟩"]
    assert engine.inspector.score("über", model=name).ids == tuple(
        Tokenizer(german_model).encode("über")
    )
    seeds = (Request("Am", 40, replace(wild, seed=seed), model=name) for seed in range(200))
    ended = next(t for t in map(last, map(engine.generate, seeds)) if t.finish_reason == "eos")
    assert ended.steps[-1].id == 1
    assert "</s>" not in ended.completion
    newest = engine.inspector.classify("Oil prices climb")  # beside a classifier with GPT-2's own
    assert engine.catalog.drawn(newest.ids, model=newest.model) == ["Oil", " prices", " climb"]


def last(items):
    *_, item = items
    return item


def test_a_model_without_a_token_to_begin_with_asks_for_a_text(
    german_model, classifier_directory, tmp_path
):
    shutil.copytree(german_model, tmp_path / "bare")
    (tmp_path / "bare" / "tokenizer_config.json").unlink()
    engine = Engine.load(str(tmp_path / "bare"), str(classifier_directory), device="cpu")
    with pytest.raises(ValueError, match="no token that a text begins with"):
        list(engine.generate(Request("", 5)))
    assert last(engine.generate(Request("Am", 5))).finish_reason == "length"


def test_conversion_keeps_a_vocabulary_of_its_own(german_model, tmp_path, capsys):
    from transformers import AutoTokenizer, GPT2LMHeadModel

    out = tmp_path / "out"
    assert convert.main([str(german_model), "--out", str(out)]) == 0, capsys.readouterr().err
    assert Tokenizer(out).encode("Straße") == Tokenizer(german_model).encode("Straße")
    theirs = AutoTokenizer.from_pretrained(out)
    assert theirs("Straße")["input_ids"] == Tokenizer(out).encode("Straße")
    config = GPT2LMHeadModel.from_pretrained(out).config
    assert (config.bos_token_id, config.eos_token_id, config.vocab_size) == (0, 1, 512)
