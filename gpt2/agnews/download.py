"""The two files of AG News: where they are looked for, and where they come from.

The corpus may be used for research and any other non-commercial purpose.
"""

import socket
from pathlib import Path

import torch

DIRECTORY = Path(__file__).resolve().parents[2] / "data" / "agnews"
URL = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
# As in the checksums of Hugging Face's and torchtext's loaders, which take the same two files.
SHA256 = {
    "train.csv": "76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e",
    "test.csv": "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
}
TIMEOUT = 10  # seconds without an answer


def find_or_download(directory: Path | None = None) -> Path:
    """The directory of train.csv (29 MB) and test.csv (2 MB), downloaded if they are missing.

    Args:
        directory: DIRECTORY if None.

    Raises:
        FileNotFoundError: they can't be downloaded.
        ValueError: what was downloaded is not what was published; nothing is kept of it.
    """
    directory = directory or DIRECTORY
    for name, sha256 in SHA256.items():
        if not (directory / name).is_file():
            _download(URL + name, directory / name, sha256)
    return directory


def _download(url: str, path: Path, sha256: str) -> None:
    """To a partial file, moved into place once its checksum is right (torch.hub does both)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torch.hub takes none
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256)
    except OSError as error:
        raise FileNotFoundError(
            f"{path.name} could not be downloaded from {url} ({error}); put train.csv and "
            f"test.csv into {path.parent}, or name their directory with --data"
        ) from error
    except RuntimeError as error:
        raise ValueError(
            f"{url} is not the file that was published ({error}); put train.csv and test.csv "
            f"into {path.parent}, or name their directory with --data"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
