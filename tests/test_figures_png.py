"""gpt2.figures.png: what is written can be read back."""

import io

import numpy as np
import pytest
from matplotlib.image import imread

from gpt2.figures.png import encode


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (33, 70)])
def test_another_reader_gets_the_same_pixels(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 4), dtype=np.uint8)
    read = imread(io.BytesIO(encode(pixels)))
    np.testing.assert_array_equal((read * 255).round().astype(np.uint8), pixels)


def test_flat_colours_are_small() -> None:
    assert len(encode(np.zeros((1000, 1000, 4), np.uint8))) < 40_000
