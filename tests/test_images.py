"""The README's figures can be drawn anew, and all that it shows are drawn."""

import re
import sys


def test_the_readmes_figures_are_drawn_anew_and_said(root, tmp_path, starter):
    script = root / ".github" / "images" / "make.py"
    done = starter.run([sys.executable, str(script), str(tmp_path)], cwd=root)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in tmp_path.iterdir()}
    text = (root / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\.github/images/([\w-]+\.png)", text))
    assert shown - {"page.png", "speed.png"} == made  # a screenshot; and what peers.py measured
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert said.keys() == {name.removesuffix(".png") for name in made}
