"""The directory that a model's name means: one of checkpoints/, a path, or a size of OpenAI's.

A size is taken from the Hugging Face hub's cache, or fetched into it.

The revisions are pinned; downloads resume and show their progress (huggingface_hub does both).
"""

import errno
import logging
from dataclasses import dataclass
from pathlib import Path

from gpt2.config import SIZES
from gpt2.vocabulary import PAIR
from gpt2.weights.files import CONFIG_FILE, hash_file

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"

_ANSWER_SECONDS = 10  # in which the hub must answer
FILES = ("config.json", "model.safetensors", *PAIR)


@dataclass(frozen=True)
class Pin:
    """One repository at one revision.

    Args:
        repository: on huggingface.co.
        revision: commit.
        sha256: of model.safetensors, empty to take the one that the hub states for this commit.
    """

    repository: str
    revision: str
    sha256: str = ""


PINS = {
    "124M": Pin(
        "openai-community/gpt2",
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    ),
    "355M": Pin("openai-community/gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"),
    "774M": Pin("openai-community/gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519"),
    "1558M": Pin(
        "openai-community/gpt2-xl",
        "15ea56dee5df4983c59b2538573817e1667135e2",
        "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a",
    ),
}


def find(name: str) -> Path:
    """What a command line means by a name: what stands here, else a size, fetched.

    Of a size the path is whole, so that a receipt or an error says which of the two it was.

    Raises:
        FileNotFoundError, ValueError: as fetch.
    """
    if name not in SIZES:
        return Path(name)
    return Path(name).absolute() if Path(name).exists() else fetch(name)


def find_directory(name: str) -> Path:
    """The directory a --model or --classifier flag means.

    Args:
        name: a name in checkpoints/, a path, or, where nothing of that name is here, the size of
            one of OpenAI's models, which is taken from the hub's cache or fetched into it.

    Raises:
        FileNotFoundError: none of these.
        ValueError: what was fetched is not what was published.
    """
    directory = CHECKPOINTS / name
    if not (directory / CONFIG_FILE).is_file():
        directory = find(name)
    if (directory / CONFIG_FILE).is_file():
        return directory.resolve()
    here = sorted(path.parent.name for path in CHECKPOINTS.glob(f"[!.]*/{CONFIG_FILE}"))
    raise FileNotFoundError(
        f"{name} is no model directory (it has no {CONFIG_FILE}; convert.py makes one of "
        "other checkpoints); "
        f"in {CHECKPOINTS.name}/ there are: {', '.join(here) or 'none'}"
    )


def fetch(size: str) -> Path:
    """The directory of one of OpenAI's models, downloaded if it is not in the hub's cache.

    Args:
        size: 124M, 355M, 774M or 1558M.

    Raises:
        ValueError: no such size, or a file is not the one that was published.
        FileNotFoundError: not in the cache, and it can't be downloaded.
    """
    if size not in PINS:
        raise ValueError(f"there is no GPT-2 of size {size!r}; there are {', '.join(SIZES)}")
    pin = PINS[size]
    cached = [path for name in FILES if (path := _cached(pin, name))]
    paths = cached if len(cached) == len(FILES) else _download(size, pin)
    path = paths[FILES.index("model.safetensors")]
    stated = path.resolve().name  # in the cache a large file is called by its sha256
    expected = pin.sha256 or (stated if len(stated) == 64 else "")
    found = hash_file(path)
    if expected and found != expected:
        raise ValueError(
            f"{path} is not the file that was published: its sha256 is {found[:12]}…, expected "
            f"{expected[:12]}…; delete {path.resolve()} and try again"
        )
    return path.parent


def _cached(pin: Pin, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(pin.repository, name, revision=pin.revision)
    return Path(found) if isinstance(found, str) else None


def _download(size: str, pin: Pin) -> list[Path]:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    hub_log = logging.getLogger("huggingface_hub")
    level = hub_log.level
    hub_log.setLevel(logging.ERROR)  # it would announce each attempt
    try:
        # Asked once, this fails at once without a network; a download tries for half a minute.
        get_hf_file_metadata(
            hf_hub_url(pin.repository, FILES[0], revision=pin.revision), timeout=_ANSWER_SECONDS
        )
        return [
            Path(hf_hub_download(pin.repository, name, revision=pin.revision)) for name in FILES
        ]
    except Exception as error:  # the hub's HTTP library, and so its errors, differ by version
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
            raise
        raise FileNotFoundError(
            f"{size} is not here and could not be downloaded from huggingface.co/"
            f"{pin.repository}; put its {', '.join(FILES)} into a directory and give that "
            "directory instead"
        ) from error
    finally:
        hub_log.setLevel(level)
