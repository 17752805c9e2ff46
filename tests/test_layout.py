"""The rooms, held by reading the imports: who may see whom."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gpt2"

# The rooms: modules and folders of gpt2/, and beside it the programs.
ROOMS = {
    "basics": [
        *("checks", "command", "ending", "flags", "log_lines", "records", "space", "text_files"),
    ],
    "the model": [
        *("config", "model", "cache", "visible", "tokenizer", "classifier"),
        *("sampling", "prediction", "generate"),
        *("vocabulary", "tokenizer_json", "added_tokens", "byte_pairs"),
    ],
    "devices": ["devices"],
    "fast": ["fast"],
    "lens": ["lens"],
    "weights": ["weights"],
    "conversion": ["conversion"],
    "training": ["training"],
    "agnews": ["agnews"],
    "engine": ["engine"],
    "figures": ["figures"],
    "ui": ["ui"],
    "programs": [
        *("pretrain", "evaluate", "news_workers", "data"),
        *("app.py", "convert.py", "finetune_agnews.py"),
    ],
}
# Who sees whom, beside its own room and the basics.
SEES = {
    "basics": [],
    "the model": [],
    "devices": ["the model"],
    "fast": ["the model"],
    "lens": ["the model"],
    "weights": ["the model"],
    "conversion": ["the model", "weights", "devices"],
    "training": ["the model", "weights", "devices"],
    "agnews": ["the model", "weights", "training"],
    "engine": ["the model", "devices", "fast", "lens", "weights", "conversion"],
    "figures": [],
    "ui": ["engine", "figures"],
}
SEES["programs"] = [room for room in ROOMS if room != "programs"]

# Heavy libraries and the files that may import them.
HOMES = {
    "tensorflow": {"gpt2/conversion/tensorflow.py"},
    "ray": {"gpt2/engine/cluster.py", "gpt2/engine/replicas.py", "gpt2/news_workers.py"},
    "gradio": {"gpt2/ui"},
    "spaces": {"gpt2/engine/lent.py", "gpt2/ui/__init__.py"},
    "prometheus_client": {"gpt2/ui/server/metrics.py"},
    "mcp": {"gpt2/ui/api/mcp_server.py"},
    "matplotlib": {"gpt2/figures"},
    "tiktoken": {"gpt2/byte_pairs.py"},
    "pandas": set(),
    "sklearn": {"gpt2/agnews/baselines.py"},
    "transformers": set(),
}
TORCHLESS = ["config", "records", "tokenizer", "vocabulary", "tokenizer_json", "memory", "data"]
TORCHLESS += ["added_tokens", "byte_pairs", "command", "space", "text_files", "checks"]
TORCHLESS += ["figures", "ui"]


def sources() -> list[Path]:
    """The package and the programs beside it."""
    return sorted([*PACKAGE.rglob("*.py"), *ROOT.glob("*.py")])


def name_of(path: Path) -> str:
    """gpt2/ui/generate.py and gpt2/ui/__init__.py are both "ui"; app.py is "app.py"."""
    parts = path.relative_to(ROOT).parts
    return parts[1].removesuffix(".py") if parts[0] == "gpt2" else parts[0]


def imports(path: Path) -> list[tuple[str, ast.stmt]]:
    """Full names of all that a file imports, wherever in it, with the statement."""
    found: list[tuple[str, ast.stmt]] = []
    folder = ".".join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # from .module import name
                above = folder.split(".")[: len(folder.split(".")) - node.level + 1]
                base = ".".join([*above, base]).strip(".")
            found += [(f"{base}.{alias.name}", node) for alias in node.names]
    return found


def libraries(path: Path) -> set[str]:
    return {full.split(".")[0] for full, _ in imports(path)}


def room_of(name: str) -> str | None:
    return next((room for room, names in ROOMS.items() if name in names), None)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_sees_the_rooms_of_its_row(room):
    allowed = {room, "basics", *SEES[room]}
    for path in sources():
        if room_of(name_of(path)) != room:
            continue
        for full, _ in imports(path):
            if full.startswith("gpt2.") and (seen := room_of(full.split(".")[1])):
                assert seen in allowed, f"{path} imports {full}, of {seen}"


def test_of_conversion_the_engine_sees_receipts_alone():
    for path in (PACKAGE / "engine").glob("*.py"):
        seen = {full for full, _ in imports(path) if full.startswith("gpt2.conversion")}
        assert seen <= {"gpt2.conversion.receipt"}, path


def test_no_module_imports_itself_by_a_detour():
    """Inside a room too; what a function imports counts."""
    known = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    seen = {
        name: {
            next(m for m in (full, full.rpartition(".")[0], "gpt2") if m in known)
            for full, _ in imports(path)
            if full.startswith("gpt2.")
        }
        for name, path in known.items()
    }
    TopologicalSorter(seen).prepare()  # raises CycleError, which names the circle


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_nothing_but_the_page_and_the_app_imports_the_page():
    for path in sources():
        if name_of(path) not in ("ui", "app.py"):
            assert not any(full.startswith("gpt2.ui") for full, _ in imports(path)), path


def test_the_server_around_the_page_knows_nothing_of_what_it_shows():
    for path in (PACKAGE / "ui" / "server").glob("*.py"):
        ours = {full for full, _ in imports(path) if full.startswith("gpt2.ui")}
        assert all(full.startswith("gpt2.ui.server.") for full in ours), path


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_has_one_home(library):
    for path in sources():
        here = path.relative_to(ROOT).as_posix()
        if library in libraries(path):
            assert any(f"{here}/".startswith(f"{home}/") for home in HOMES[library]), here


@pytest.mark.parametrize("name", TORCHLESS)
def test_a_module_without_tensors_does_not_import_torch(name):
    for path in PACKAGE.rglob("*.py"):
        if name_of(path) == name:
            assert not libraries(path) & {"torch", "safetensors"}, path


def test_figures_see_numpy_and_matplotlib():
    for path in PACKAGE.rglob("*.py"):
        if name_of(path) == "figures":
            outside = libraries(path) - set(sys.stdlib_module_names)
            assert outside <= {"numpy", "matplotlib", "PIL", "gpt2"}, path


def test_pyplot_is_used_nowhere():
    """It keeps every figure alive, and is not safe between threads."""
    for path in sources():
        names = [full for full, _ in imports(path)]
        assert not any("pyplot" in full or full.startswith("pylab") for full in names), path
        assert "pyplot." not in path.read_text(encoding="utf-8"), path


def test_slow_libraries_of_single_functions_are_imported_inside_them():
    for path in sources():
        body = ast.parse(path.read_text(encoding="utf-8")).body
        top = {id(node) for node in body}
        for full, node in imports(path):
            if full.split(".")[0] in ("tensorflow", "sklearn", "ray"):
                assert id(node) not in top, f"{path} imports {full} when it is itself imported"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("gpt2", {"torch", "numpy", "matplotlib", "gradio", "tiktoken", "pandas", "safetensors"}),
        ("gpt2.records", {"torch", "matplotlib", "gradio", "tiktoken"}),
        ("gpt2.figures", {"torch", "gradio", "pandas", "matplotlib.pyplot"}),
        ("gpt2.data", {"torch"}),
        ("gpt2.agnews", {"torch", "tiktoken", "pandas"}),
    ],
)
@pytest.mark.slow
def test_importing_does_not_pull_in(module, unwanted):
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & {unwanted!r}))"
    if not any(ROOT.glob(f"{module.replace('.', '/')}*")):
        pytest.skip(f"{module} does not exist yet")
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_only_programs_print_and_exit():
    """Libraries log, raise or yield; what has a `main` is a program, and so are the server and the
    net around programs."""
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path in (PACKAGE / "ui" / "serve.py", PACKAGE / "command.py") or any(
            isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body
        ):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("print", "sys.exit", "exit", "input"), path


def test_assert_is_for_tests():
    """python -O drops it."""
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), path


def test_every_promise_has_the_test_that_is_named():
    table = (ROOT / "tests" / "RELIABILITY.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("| R")]
    assert [row.split(" ")[1] for row in rows] == [f"R{number}" for number in range(1, 37)]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", table)
    assert len(named) > len(rows)
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.M), test
