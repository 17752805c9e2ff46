"""gpt2.agnews.report: the table and the files; finetune_agnews.py's own tests see them made."""

from gpt2.agnews import report
from gpt2.training.progress import Point

HELD_OUT = {"accuracy": 0.5, "macro_f1": 0.4, "rows": 4, "confusion": [[1, 0, 0, 0]] * 4}
POINTS = [
    Point(1, 5.0, stage="language", read=9),
    Point(1, 1.0, stage="classifier-1", read=17, accuracy=0.3),
    Point(2, 0.9, stage="classifier-1", read=25, accuracy=0.4, held_out={"accuracy": 0.45}),
    Point(1, 0.8, stage="classifier-2", read=33, accuracy=0.5, held_out={"accuracy": 0.5}),
]


def test_the_curve_runs_on_over_the_trainings_of_a_classifier():
    found = report.curves(POINTS)
    assert [point["texts"] for point in found["curve"]] == [8, 16, 24]
    assert [point["texts"] for point in found["epochs"]] == [16, 24]


def test_the_table_says_what_was_measured_here_and_what_was_published():
    test = {**HELD_OUT, "accuracy": 0.8765, "rows": 3800}
    rows = [{"name": "a baseline", "accuracy": 0.8, "macro_f1": 0.79, "train_rows": 1900}]
    rows[0]["rows"] = 3800
    metrics = {"held_out": HELD_OUT, "test": test, "train_rows": 1900, "baselines": rows}
    lines = report.table(metrics, name="mine").splitlines()
    assert lines[0].startswith("measured here, on test.csv")
    assert lines[1].split() == ["mine", "1,900", "3,800", "87.65", "%", "0.4000"]
    assert lines[2].split() == ["a", "baseline", "1,900", "3,800", "80.00", "%", "0.7900"]
    assert lines[3].startswith("published")
    assert lines[4].endswith("120,000  7,600   92.36 %")


def test_files_are_known_by_their_sha256(tmp_path):
    (tmp_path / "train.csv").write_bytes(b"abc")
    wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert report.files_of(tmp_path) == {"train.csv": wanted}


def test_a_commit_is_named_only_where_there_is_a_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    assert report.commit() is None
