"""What git leaves in place of a large file where git-lfs did not fetch it. Imports: stdlib."""

from pathlib import Path

# github.com/git-lfs/git-lfs, docs/spec.md, "The Pointer": a text file of three lines.
_POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Refuse a git-lfs pointer, by name; any other file, or none, is well.

    Raises:
        ValueError: it is one.
    """
    if not path.is_file():
        return
    with open(path, "rb") as file:
        found = file.read(len(_POINTER))
    if found == _POINTER:
        raise ValueError(
            f"{path} is a git-lfs pointer, a few words in place of the file; run `git lfs pull` "
            "in its repository, or download the file itself"
        )
