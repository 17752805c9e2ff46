"""What forks of nanoGPT put beside their tensors is
read as what it is, and what a file would call is refused by name and never run."""

import argparse
import collections
import datetime
import http
import os
import pathlib
import pickle
import subprocess
import types
import zoneinfo
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gpt2.conversion.nanogpt import from_nanogpt

SIZES = {"n_layer": 3, "n_head": 4, "n_embd": 32, "block_size": 24, "vocab_size": 97}


@dataclass
class Plain:
    """As nanoGPT's GPTConfig."""

    block_size: int = 24
    vocab_size: int = 97
    n_layer: int = 3
    n_head: int = 4
    n_embd: int = 32


@dataclass(slots=True)
class Slotted:
    block_size: int = 24
    vocab_size: int = 97
    n_layer: int = 3
    n_head: int = 4
    n_embd: int = 32


@dataclass(slots=True)
class SlottedChild(Plain):
    bias: bool = True


@dataclass(frozen=True, slots=True)
class Frozen:
    rate: float = 6e-4
    names: tuple = ("a", "b")


class History(list):
    """A list of its own kind."""


@pytest.fixture
def state(tiny_model):
    """nanoGPT's tensors: its model keeps GPT-2's matrices as torch's Linear does, as ours."""
    return {f"transformer.{name}": value for name, value in tiny_model.state_dict().items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ckpt.pt"


def assert_read(path, state):
    """The model is in the file, bit by bit."""
    source = from_nanogpt(path)
    config = source.config
    assert (config.n_layer, config.n_head, config.n_embd, config.n_ctx) == (3, 4, 32, 24)
    assert len(source.names) == len(state) == 40
    for ours, theirs in source.names.items():
        assert torch.equal(source.read(theirs), state[ours]), ours


BESIDE = {
    "float32": np.float32(2.5),
    "float64": np.float64(2.5),
    "int64": np.int64(7),
    "bool": np.bool_(True),
    "text": np.str_("x"),
    "complex": np.complex64(1j),
    "date": np.datetime64("2024-01-01"),
    "array": np.arange(6.0).reshape(2, 3),
    "array of objects": np.array([1, "a", None], dtype=object),
    "random state": np.random.RandomState(3).get_state(),
    "generator": np.random.default_rng(0),
    "Namespace": argparse.Namespace(lr=1e-3, out=pathlib.PurePosixPath("out")),
    "SimpleNamespace": types.SimpleNamespace(a=1),
    "path": pathlib.Path("out"),
    "Windows path": pathlib.PureWindowsPath("out"),
    "datetime": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
    "deque": collections.deque([1.0, 2.0], maxlen=5),
    "empty deque": collections.deque(),
    "long deque": collections.deque(range(3000)),
    "history": History([1, 2]),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "Counter": collections.Counter("aab"),
    "dataclass": Plain(),
    "slotted": Slotted(),
    "slotted child": SlottedChild(),
    "frozen": Frozen(),
    "several": [Slotted(), Plain(), collections.deque([Frozen()]), {"a": History()}],
    "set": {1, 2},
    "complex number": 1j,
    "bytes": b"abc",
    "class": Plain,
    "torch's": [torch.bfloat16, torch.device("cpu"), torch.Size([1]), torch.get_rng_state()],
    "optimizer": torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))]),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("thing", BESIDE)
def test_whatever_a_fork_keeps_beside_its_tensors_is_no_damage(state, path, thing, zipped):
    """A NumPy number as best_val_loss was "damage"; so were a deque and a slotted dataclass."""
    made = {"model": state, "model_args": SIZES, "best_val_loss": BESIDE[thing]}
    torch.save(made, path, _use_new_zipfile_serialization=zipped)
    assert_read(path, state)


CONFIGS = {
    "model_args": lambda state: {"model": state, "model_args": SIZES},
    "NumPy's numbers": lambda state: {
        "model": state,
        "model_args": {name: np.int64(value) for name, value in SIZES.items()},
    },
    "Namespace": lambda state: {"model": state, "args": argparse.Namespace(**SIZES)},
    "dataclass": lambda state: {"model": state, "config": Plain()},
    "slots": lambda state: {"model": state, "config": Slotted()},
    "slots of a child": lambda state: {"model": state, "config": SlottedChild()},
    "within another": lambda state: {
        "model": state,
        "config": argparse.Namespace(out="out", model=Slotted()),
    },
    "Lightning": lambda state: {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "hyper_parameters": {"config": Plain(), "lr": 1e-3},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []}],
        "callbacks": {"EarlyStopping{'monitor': 'loss'}": {"best_score": torch.tensor(1.0)}},
    },
    "Transformers' names": lambda state: {
        "model_state_dict": {f"module.{name}": value for name, value in state.items()},
        "hparams": argparse.Namespace(
            **{name: value for name, value in SIZES.items() if name != "block_size"},
            n_positions=24,
        ),
    },
}


@pytest.mark.parametrize("form", CONFIGS)
def test_the_sizes_are_found_however_a_fork_keeps_them(state, path, form):
    torch.save(CONFIGS[form](state), path)
    assert_read(path, state)


@pytest.mark.parametrize("kind", ["whole", "no sizes"])
def test_a_frozen_dataclass_in_slots_has_no_names_and_the_sizes_are_asked_for(state, path, kind):
    made = {"model": state, "config": Frozen()}
    torch.save(made if kind == "whole" else {"model": state}, path)
    with pytest.raises(ValueError, match=r"no model_args with vocab_size.*add them"):
        from_nanogpt(path)


# --- what is never run ------------------------------------------------------------------------


class Calls:
    """A pickle of this calls a function when it is loaded."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


CALLS = {
    "posix.system": lambda mark: Calls(os.system, f"touch {mark}"),
    "eval": lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"),
    "open": lambda mark: Calls(open, str(mark), "w"),
    "subprocess.Popen": lambda mark: Calls(subprocess.Popen, ["touch", str(mark)]),
    "os.mkdir": lambda mark: Calls(os.mkdir, str(mark)),
    "Touch": lambda mark: Touched(mark),
    "getattr": lambda mark: Calls(getattr, pathlib.Path(mark), "touch"),
    "builtins.getattr": lambda mark: zoneinfo.ZoneInfo("UTC"),
    "HTTPStatus": lambda mark: http.HTTPStatus.OK,
}


class Touch:
    def __init__(self, mark):
        pathlib.Path(mark).touch()


class Touched:
    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return Touch, (self.mark,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["model", "model_args", "optimizer"])
@pytest.mark.parametrize("name", CALLS)
def test_a_function_that_a_file_would_call_is_refused_by_name_and_not_run(
    state, path, tmp_path, name, place, zipped
):
    mark = tmp_path / "ran"
    made = {"model": state, "model_args": SIZES, "optimizer": {}} | {place: CALLS[name](mark)}
    torch.save(made, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError) as error:
        from_nanogpt(path)
    text = str(error.value)
    assert str(path) in text
    assert name.replace("os.mkdir", "posix.mkdir") in text
    assert "code, which is never run" in text
    assert "damaged" not in text
    assert "\n" not in text
    assert not mark.exists()


def test_a_function_that_is_only_named_is_not_run_either(state, path):
    torch.save(
        {"model": state, "model_args": SIZES, "activation": torch.nn.functional.gelu, "by": sorted},
        path,
    )
    assert_read(path, state)


# --- what is damaged, and what is another file --------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99])
def test_a_file_cut_off_is_called_damaged(state, path, part, zipped):
    made = {"model": state, "model_args": SIZES, "best": np.float32(1)}
    torch.save(made, path, _use_new_zipfile_serialization=zipped)
    os.truncate(path, int(part * path.stat().st_size))
    with pytest.raises(ValueError) as error:
        from_nanogpt(path)
    assert f"{path} is damaged, or no file of torch.save" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pickle_that_torch_did_not_write_is_told_what_to_do(state, path):
    path.write_bytes(pickle.dumps({"model": {}, "model_args": SIZES}, protocol=4))
    with pytest.raises(ValueError, match=r"pickled by protocol 4; torch.save it again"):
        from_nanogpt(path)


def test_a_git_lfs_pointer_in_place_of_a_checkpoint_is_named(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 497774208\n")
    with pytest.raises(ValueError, match=r"ckpt\.pt is a git-lfs pointer.*git lfs pull"):
        from_nanogpt(path)


def test_a_model_saved_whole_is_told_to_save_its_tensors(tiny_model, path):
    torch.save(tiny_model, path)
    with pytest.raises(ValueError) as error:
        from_nanogpt(path)
    assert "GPT2 stands where tensors by name should" in str(error.value)
