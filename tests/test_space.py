"""The repository as a Hugging Face Space: its front matter, and its start in such a container."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from programs import free_port
from test_app import HOOK, asked, until_open

ROOT = Path(__file__).resolve().parent.parent
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
PYTHONS = {"3.10", "3.12"}  # that ZeroGPU has; the other hardware takes any
NOBODY = 65534
# What a Space's page must start without: it comes with requirements.txt or is of other programs.
UNNEEDED = ("tensorflow", "transformers", "sklearn", "spaces", "mcp", "prometheus_client")
# After HOOK: these packages are not there.
MISSING = f"""
import sys
sys.modules.update(dict.fromkeys({UNNEEDED!r}))
"""


@pytest.fixture(scope="module")
def card():
    """The front matter of the README."""
    found = re.match(r"---\n(.*?)\n---\n", (ROOT / "README.md").read_text(), re.S)
    assert found
    return yaml.safe_load(found[1])


def test_the_front_matter_is_as_the_hub_wants_it(card):
    """A wrong line of it is told to whoever uploads, by a Space that does not start."""
    assert {card["colorFrom"], card["colorTo"]} <= COLORS
    assert len(card["emoji"]) <= 2
    assert len(card["short_description"]) <= 60
    assert card["sdk"] == "gradio"
    assert (ROOT / card["app_file"]).is_file()
    assert card["python_version"] in PYTHONS
    assert isinstance(card["pinned"], bool)
    assert all(re.fullmatch(r"[a-z0-9-]+", tag) for tag in card["tags"])
    assert card["license"] == "mit"
    known = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version"}
    known |= {"app_file", "short_description", "license", "tags", "pinned"}
    assert set(card) <= known


def test_the_space_has_the_gradio_and_the_python_that_the_code_wants(card):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    (gradio,) = (Requirement(line) for line in lines if line.startswith("gradio"))
    assert str(gradio.specifier) == f"=={card['sdk_version']}"
    project = (ROOT / "pyproject.toml").read_text()
    wanted = re.search(r'requires-python = "(.*)"', project)[1]
    assert card["python_version"] in SpecifierSet(wanted)


@pytest.fixture
def checkout(tmp_path):
    """The repository's own files, as git has them, which nobody may write to."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("this is no git repository")
    made = tmp_path / "app"
    for name in filter(None, listed.stdout.decode().split("\0")):
        place = made / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place)
    for path in [made, *made.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield made
    for path in [made, *made.rglob("*")]:
        path.chmod(0o755)


@pytest.fixture
def visitor():
    """Options of Popen by which a program has no rights, if that can be arranged here."""
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, **options)
    except (OSError, subprocess.SubprocessError):
        return {}
    return options


@pytest.mark.soak
def test_in_a_spaces_container_it_opens_to_all_writes_and_ends_in_order(
    checkout, visitor, tmp_path
):
    """`python app.py`, as a Space runs it: no flags, no rights, nothing but requirements.txt's
    packages without TensorFlow, and no network but this machine.

    pytest -n 0 -m soak tests/test_space.py: a quarter of a minute, as it compiles anew.
    """
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK + MISSING)
    log = tmp_path / "network"
    log.write_text("")
    home = tmp_path / "home"
    home.mkdir()
    for path in (log, home):
        path.chmod(0o777)
    for path in (tmp_path, *tmp_path.parents[:-2]):
        path.chmod(path.stat().st_mode | 0o055)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(tmp_path / "hook"),
        "NETWORK_LOG": str(log),
        "SYSTEM": "spaces",
        "SPACE_ID": "ann/gpt2",
        "SPACE_HOST": "ann-gpt2.hf.space",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SSR_MODE": "True",
    }
    command = [sys.executable, "app.py"]
    options = {"cwd": checkout, "env": environment, "text": True, **visitor}
    options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(command, **options) as process:
        until_open(process, port, seconds=300)  # it compiles, as for the first time
        assert process.stdout.readline() == f"Open http://localhost:{port}/\n"
        assert asked(port, "generate", prompt="It rains")[0] == "complete"
        assert asked(port, "classify", text="It rains goals")[0] == "complete"
        assert httpx.get(f"http://127.0.0.1:{port}/health").json()["model"] == "mini"
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    assert out.startswith("Closing")
    assert error == ""
    assert log.read_text() == ""  # it called nobody
