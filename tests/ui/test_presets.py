"""The presets: what each says is to be seen, seen in what the shipped models make of it."""

from dataclasses import fields, replace

import numpy as np
import pytest

from gpt2.engine import Engine, Request, Sampling
from gpt2.records import METHODS, Trace, Verdict
from gpt2.ui.preset_places import found, place
from gpt2.ui.presets import HEAD_RULES, OPENING, PRESETS, Preset

EVERY = (*PRESETS, OPENING)
NAMES = [preset.name for preset in EVERY]


def run(engine: Engine, preset: Preset) -> Trace | Verdict:
    """What one click makes, with the engine's first models."""
    if preset.tab == "classify":
        return engine.inspector.classify(preset.prompt)
    model = engine.catalog.models[0]
    *_, trace = engine.generate(preset.request(model))
    return trace


class Shipped:
    """The shipped models, what they made of each preset, and the numbers behind it."""

    def __init__(self) -> None:
        self.engine = Engine.load("mini", "mini-agnews", device="cpu", dtype="float32")
        self.inspector = self.engine.inspector
        self.made = {preset.name: run(self.engine, preset) for preset in EVERY}

    def preset(self, name: str) -> Preset:
        return EVERY[NAMES.index(name)]

    def pieces(self, name: str) -> list[str]:
        """The tokens of the whole text, each as it reads."""
        record = self.made[name]
        tokenizer = self.engine.catalog.tokenizer(record.model)
        return [tokenizer.decode([token]) for token in record.ids]

    def step(self, name: str):
        """How the selected token was drawn."""
        trace = self.made[name]
        return trace.steps[place(self.preset(name), self.engine, trace).token - self.first(name)]

    def first(self, name: str) -> int:
        """Index of the first token drawn."""
        return len(self.made[name].prompt_ids)

    def attention(self, name: str) -> np.ndarray:
        """[T, T] of the head that is shown."""
        trace = self.made[name]
        where = place(self.preset(name), self.engine, trace)
        maps = self.inspector.attention(trace.ids, where.layer, model="mini")
        return maps[where.head]


@pytest.fixture(scope="module")
def shipped(root) -> Shipped:
    for name in ("mini", "mini-agnews"):
        if not (root / "checkpoints" / name / "model.safetensors").is_file():
            pytest.skip(f"checkpoints/{name} has no weights")
    return Shipped()


# --- all of them ---------------------------------------------------------------------------------


def test_there_are_eight_and_each_has_a_name_of_its_own():
    assert len(PRESETS) == 8
    assert len({*NAMES}) == 9


@pytest.mark.parametrize("preset", EVERY, ids=NAMES)
def test_a_chip_and_a_sentence_are_short(preset):
    assert 1 <= len(preset.name.split()) <= 3
    assert len(f"{preset.words} {preset.measured}") <= 200
    assert "!" not in preset.words + preset.measured


@pytest.mark.parametrize("preset", EVERY, ids=NAMES)
def test_the_selected_token_is_the_one_that_is_spoken_of(shipped, preset):
    record = shipped.made[preset.name]
    where = place(preset, shipped.engine, record)
    assert where.as_measured
    assert preset.sentence(where).endswith(preset.measured)
    assert shipped.pieces(preset.name)[where.token] == preset.reads
    assert (where.layer, where.head) == (preset.layer, preset.head)


@pytest.mark.parametrize("preset", EVERY, ids=NAMES)
def test_the_rules_find_the_same_place_in_the_shipped_models(shipped, preset):
    record = shipped.made[preset.name]
    noted = place(preset, shipped.engine, record)
    assert replace(found(preset, shipped.engine, record), as_measured=True) == noted


@pytest.mark.parametrize("preset", EVERY, ids=NAMES)
def test_another_model_has_a_place_for_each_and_no_numbers_of_ours(engine, preset):
    record = run(engine, preset)
    where = place(preset, engine, record)
    config = engine.catalog.config(record.model)
    assert 1 <= where.token < len(record.ids)
    assert 0 <= where.layer < config.n_layer
    assert -1 <= where.head < config.n_head
    assert preset.sentence(where) == preset.words


def test_the_same_model_that_wrote_another_text_is_not_given_its_numbers(shipped):
    preset = replace(shipped.preset("Chance"), seed=1)
    record = run(shipped.engine, preset)
    where = place(preset, shipped.engine, record)
    assert shipped.engine.catalog.tokenizer("mini").decode([record.ids[5]]) == " Kingdom"
    assert preset.sentence(where) == preset.words


def test_a_preset_asks_for_what_it_shows():
    preset = Preset("Name", "Words.", "Text", "next", max_new_tokens=3, top_p=0.5, stop="\n")
    assert preset.request("other") == Request(
        "Text",
        3,
        Sampling(temperature=0.7, top_k=40, top_p=0.5, repetition_penalty=1.0),
        "\n",
        "other",
    )
    settings = {field.name for field in fields(Sampling)}
    assert settings <= {field.name for field in fields(Preset)}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"view": "decided"}, "view is 'decided'; choose one of: next, attention"),
        ({"tab": "score"}, "tab is 'score'; choose one of: generate, classify"),
        ({"token_rule": "best"}, "token_rule is 'best'"),
        ({"head_rule": "induced"}, f"one of: , {HEAD_RULES[0]}"),
        ({"token": 0}, "token is 0; the first that is predicted is 1"),
    ],
)
def test_a_preset_that_the_page_could_not_show_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        replace(OPENING, **wrong)


# --- what each says ------------------------------------------------------------------------------


def test_chance_made_a_king(shipped):
    """“Kingdom” had 69 %, “States” 29 %, and chance made a king of the United States."""
    trace, step = shipped.made["Chance"], shipped.step("Chance")
    text = trace.prompt + trace.completion
    assert text.startswith("The king of the United States is the president of the republic.")
    assert text.endswith(".")
    decode = shipped.engine.catalog.tokenizer("mini").decode
    assert [decode([token]) for token in step.top_ids[:2]] == [" Kingdom", " States"]
    assert step.rank == 2
    np.testing.assert_allclose(step.top_probs[:2], (0.69, 0.29), atol=0.005)

    request = shipped.preset("Chance").request()
    *_, other = shipped.engine.branch(request, trace.ids, shipped.first("Chance"), step.top_ids[0])
    assert other.completion.startswith(" Kingdom")
    assert other.completion[:60] not in trace.completion  # the story turns


def test_repetition_goes_round_and_its_head_looks_at_what_came_next(shipped):
    """Round by round “brave” rises from 10 % to 72 %."""
    trace, first = shipped.made["Repetition"], shipped.first("Repetition")
    pieces = shipped.pieces("Repetition")
    drawn = [i for i in range(first, len(pieces)) if pieces[i] == " brave"]
    probs = [trace.steps[i - first].prob for i in drawn]
    assert len(probs) == 8
    assert all(np.diff(probs) > 0)
    np.testing.assert_allclose((probs[0], probs[-1]), (0.10, 0.72), atol=0.005)
    assert trace.completion.count("he was a brave man") >= 3

    row = shipped.attention("Repetition")[drawn[-1] - 1]
    braves = [i for i in range(drawn[-1]) if pieces[i] == " brave"]
    assert row[braves].sum() > 0.6
    assert min(row[braves]) > 0.07
    others = np.delete(row, [0, *braves])
    assert others.max() < 0.05  # beside the first token nothing else is as bright


def test_an_invented_name_is_copied_by_a_few_heads(shipped):
    """Without one of the 72 heads “bl” falls from 99.8 % to 8 %."""
    trace, preset = shipped.made["An invented name"], shipped.preset("An invented name")
    assert trace.completion.startswith("blat")
    assert trace.completion.count("Zorblat") == 2
    index = shipped.first(preset.name)
    *_, found_map = shipped.inspector.ablation_maps(trace.ids, index, model="mini")
    assert found_map.heads.size == 72
    assert np.exp(found_map.logprob) == pytest.approx(0.998, abs=0.0005)
    without = np.exp(found_map.logprob + found_map.heads)
    assert np.unravel_index(without.argmin(), without.shape) == (preset.layer, preset.head)
    assert without.min() == pytest.approx(0.08, abs=0.005)
    assert (without < 0.95).sum() == 3  # a few heads


def test_a_quotation_is_watched_until_it_is_closed(shipped):
    """From each word of the first, 91 % of its attention or more."""
    pieces = shipped.pieces("A quotation")
    opened, closed = pieces.index(' "'), shipped.first("A quotation")
    assert pieces[closed] == '."'
    weights = shipped.attention("A quotation")
    assert weights[opened + 1 : closed, opened].min() == pytest.approx(0.91, abs=0.005)
    assert weights[closed:, opened].max() < 0.1
    # What is said next has a mark of its own.
    opened, closed = pieces.index('"'), pieces.index(',"')
    assert weights[opened + 1 : closed, opened].min() > 0.75
    assert weights[closed:, opened].max() < 0.1


def test_a_year_is_seen_late(shipped):
    """For four layers “to” begins “to be”; “1918” starts at rank 12,374 and ends at 1."""
    trace, index = shipped.made["A year"], shipped.first("A year")
    assert trace.completion.startswith(" 1918.")
    lens = shipped.inspector.logit_lens(trace.ids, [index - 1], model="mini")
    decode = shipped.engine.catalog.tokenizer("mini").decode
    guesses = [decode([token]) for token in lens.top_ids[:, 0, 0]]
    assert guesses[1:5] == [" be"] * 4
    assert guesses[-2:] == [" 1918", " 1918"]
    assert all(decode([token]).strip().isdigit() for token in lens.top_ids[-1, 0])
    ranks = lens.followed_ranks[:, 0]
    assert ranks[0] == pytest.approx(12374, abs=30)
    assert ranks[-1] == 1


def test_a_headline_turns_once(shipped):
    """Sports has 90 % at “its”; at “shares” Business takes over, and keeps the lead."""
    verdict, pieces = shipped.made["A turning headline"], shipped.pieces("A turning headline")
    leading = [verdict.labels[i] for i in verdict.per_token.argmax(axis=1)]
    turn = pieces.index(" shares")
    assert leading[1:] == ["Sports"] * (turn - 1) + ["Business"] * (len(pieces) - turn)
    assert verdict.per_token[turn - 1].max() == pytest.approx(0.90, abs=0.005)
    assert pieces[turn - 1] == " its"


def test_temperature_lets_the_tail_win(shipped):
    """“batteries” was candidate 4,629, one chance in 35,000."""
    trace, step = shipped.made["Temperature 1.5"], shipped.step("Temperature 1.5")
    assert step.rank == pytest.approx(4629, abs=5)
    assert 1 / step.sampled_prob == pytest.approx(35_000, abs=500)
    # It flattens the odds, and the repetition is the same beginning at 0.
    index = len(trace.prompt_ids) + trace.steps.index(step)
    sampling = shipped.preset("Temperature 1.5").request().sampling
    drawn = shipped.inspector.waterfall(trace.ids, index, sampling, model="mini")
    own, hot = (np.sort(drawn.probs[i])[-10:].sum() for i in (0, -1))
    assert own > 0.6
    assert hot < 0.25
    cold = shipped.preset("Repetition")
    assert (cold.prompt, cold.temperature) == (trace.prompt, 0)


def test_a_rare_word_is_carried_by_its_pieces(shipped):
    """Two pieces carry “zz”; “king” and “Babylon” hardly count."""
    trace, preset = shipped.made["A rare word"], shipped.preset("A rare word")
    pieces = shipped.pieces("A rare word")
    assert pieces[6:12] == [" Neb", "uch", "ad", "ne", "zz", "ar"]
    assert all(step.rank == 1 for step in trace.steps[:5])
    assert preset.options["method"] in METHODS
    *_, whole = shipped.inspector.attributions(
        trace.ids,
        preset.token,
        trace.ids[preset.token],
        method=preset.options["method"],
        model="mini",
    )
    scores = dict(zip(pieces, whole.scores, strict=False))
    assert scores["ne"] > 15
    assert scores[" Neb"] > 8
    assert all(abs(scores[other]) < 1.2 for other in pieces[:6])


def test_the_first_token_is_where_the_copying_head_rests(shipped):
    """It gets 85 % of the attention."""
    rests, copies = shipped.preset("The first token"), shipped.preset("Repetition")
    assert (rests.layer, rests.head) == (copies.layer, copies.head)
    weights = shipped.attention("The first token")
    assert weights[1:, 0].mean() == pytest.approx(0.85, abs=0.005)
    assert (weights[1:].argmax(axis=1) == 0).all()
    assert shipped.attention("Repetition")[-2, 0] < 0.1  # where it finds something


def test_texts_end_with_their_sentences(shipped):
    """But for the one that goes in circles, and the one that is too hot to."""
    for preset in EVERY:
        if preset.name not in ("Repetition", "Temperature 1.5", "A turning headline"):
            assert shipped.made[preset.name].completion.endswith(".")
