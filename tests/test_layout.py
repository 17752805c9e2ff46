"""The layers, held by reading the imports: modules see only what stands to the left of them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gpt2"

# A module may import those of the rows above its own. One that does not exist yet is no error;
# one that is not listed is.
LAYERS = {
    "numbers and words": [
        *("config", "trace", "vocabulary", "tokenizer", "numpy_forward", "memory", "agnews"),
        *("command", "scoring", "text_files", "lfs"),
    ],
    "the model": ["cache", "filters", "sampling", "request", "model", "classifier"],
    "what is done with it": [
        *("lora", "losses", "generate", "drafts", "lens", "weights", "hub", "data", "training"),
        "fast",
        *("agnews_files", "baselines", "checkpoint", "devices", "flops", "rows", "trained"),
        *("sources", "logit_check", "receipt", "conversion"),
    ],
    "what is minimized": ["next_token", "objective", "pretrain_flags"],
    "whole jobs": [
        *("pretrain", "finetune", "report", "evaluate", "library", "views", "explain", "engine"),
    ],
    "the page": ["ui"],
}
# Within a row, these and no others.
NEIGHBOURS = {
    "agnews": {"text_files"},
    "trace": {"scoring"},
    "vocabulary": {"lfs"},
    "tokenizer": {"vocabulary"},
    "sampling": {"filters"},
    "request": {"sampling"},
    "model": {"cache"},
    "classifier": {"model"},
    "drafts": {"generate"},
    "hub": {"weights"},
    "checkpoint": {"devices", "weights"},
    "flops": {"devices"},
    "rows": {"devices"},
    "trained": {"lora"},
    "training": {"checkpoint", "devices"},
    "sources": {"weights"},
    "logit_check": {"sources", "weights"},
    "receipt": {"logit_check", "sources", "weights"},
    "conversion": {"logit_check", "receipt", "sources", "weights"},
    "views": {"library"},
    "explain": {"library", "views"},
    "engine": {"explain", "library"},
    "evaluate": {"library"},
    "report": {"figures"},
}
# Modules that see less than their row would let them.
NARROW = {"figures": {"trace"}, "ui": {"engine", "figures", "trace"}}

# Heavy libraries and the files that may import them.
HOMES = {
    "tensorflow": {"convert.py"},
    "gradio": {"gpt2/ui"},
    "matplotlib": {"gpt2/figures"},
    "tiktoken": {"gpt2/tokenizer.py"},
    "pandas": set(),
    "sklearn": {"gpt2/baselines.py"},
    "transformers": set(),
}
TORCHLESS = ["config", "trace", "tokenizer", "vocabulary", "numpy_forward", "memory", "data"]
TORCHLESS += ["agnews", "command", "scoring", "text_files", "lfs"]
TORCHLESS += ["vocabulary", "figures", "ui"]


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


def within(name: str) -> set[str]:
    """Modules of the package that a module imports."""
    seen = {
        full.split(".")[1]
        for path in PACKAGE.rglob("*.py")
        if name_of(path) == name
        for full, _ in imports(path)
        if full.startswith("gpt2.")
    }
    return seen - {name, "__version__"}


def modules() -> list[str]:
    return sorted({name_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"})


def libraries(path: Path) -> set[str]:
    return {full.split(".")[0] for full, _ in imports(path)}


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_to_the_left_only(name):
    if name in NARROW:
        assert within(name) <= NARROW[name]
        return
    rows = list(LAYERS.values())
    own = [i for i, row in enumerate(rows) if name in row]
    assert own, f"gpt2/{name} stands in no layer; give it a place in LAYERS"
    allowed = {left for row in rows[: own[0]] for left in row} | NEIGHBOURS.get(name, set())
    assert within(name) <= allowed


def test_every_module_stands_in_one_layer():
    listed = [name for row in LAYERS.values() for name in row]
    assert len(listed) == len(set(listed))


def test_nothing_but_the_page_and_the_app_imports_the_page():
    for path in sources():
        if name_of(path) not in ("ui", "app.py"):
            assert not any(full.startswith("gpt2.ui") for full, _ in imports(path)), path


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


def test_figures_see_numpy_matplotlib_and_trace():
    for path in PACKAGE.rglob("*.py"):
        if name_of(path) == "figures":
            outside = libraries(path) - set(sys.stdlib_module_names)
            assert outside <= {"numpy", "matplotlib", "gpt2"}, path


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
            if full.split(".")[0] in ("tensorflow", "sklearn"):
                assert id(node) not in top, f"{path} imports {full} when it is itself imported"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("gpt2", {"torch", "numpy", "matplotlib", "gradio", "tiktoken", "pandas", "safetensors"}),
        ("gpt2.trace", {"torch", "matplotlib", "gradio", "tiktoken"}),
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
