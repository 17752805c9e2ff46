"""A PNG file from pixels, in about half the time that general encoders take for a figure.

Source: the PNG specification (ISO/IEC 15948), chapters 5 (chunks) and 9 (filters).
Imports: numpy.
"""

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2  # filter: each pixel as its difference to the one above, mostly 0 in a figure


def encode(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 pixels [rows, columns, 4], RGBA."""
    rows, columns = pixels.shape[:2]
    lines = pixels.reshape(rows, 4 * columns)
    filtered = np.empty((rows, 1 + 4 * columns), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = lines[0]
    np.subtract(lines[1:], lines[:-1], out=filtered[1:, 1:])  # modulo 256, as the filter wants
    header = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)  # 8 bits each of RGBA
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(filtered, level=1))
    return _SIGNATURE + body + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
