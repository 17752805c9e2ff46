"""gpt2.figures.base.cells: what can be pointed at lies where the picture paints it."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import test_figures
import test_figures_inside
from matplotlib import colormaps
from test_figures import pieces
from test_figures_inside import head_tiles, lens

from gpt2 import figures
from gpt2.figures import LIGHT, Cells, Picture
from gpt2.records import HEAD_LABELS

WIDTHS = (300, 340, 700, 1040)
SHARES = np.array([(1, 0, 0), (0.25, 0.75, 0), (0.5, 0.1, 0.4)])
NAMES = ["The", " cat", "\n"]


def center(cells: Cells, row: int, column: int) -> tuple[float, float]:
    """The middle of a cell, in CSS pixels."""
    x = cells.left + column * cells.across + (cells.across - cells.gap) / 2
    y = cells.top + row * cells.down + (cells.down - cells.gap) / 2
    return x, y


def painted(picture: Picture, width: int, cells: Cells) -> np.ndarray:
    """The colour of each cell, away from words where it is large enough for some: [R, C, 4]."""
    pixels = figures.render(picture.figure(LIGHT, width))
    aside = 0.3 if min(cells.down - cells.gap, cells.across) > 12 else 0
    out = np.zeros((len(cells.rows), len(cells.columns), 4), int)
    for row, column in np.ndindex(out.shape[:2]):
        x, y = center(cells, row, column)
        x -= aside * (cells.across - cells.gap)
        y += aside * (cells.down - cells.gap)
        out[row, column] = pixels[int(2 * y), int(2 * x)]
    return out


def shade(share: float) -> np.ndarray:
    return 255 * np.array(colormaps["viridis"](share**0.5)[:3])


def there(cells: Cells) -> list[tuple[int, int]]:
    return [at for at in np.ndindex(len(cells.rows), len(cells.columns)) if cell(cells, *at)]


def cell(cells: Cells, row: int, column: int) -> str:
    return cells.values[row][column]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [3, 12, 64])
def test_a_cell_of_a_map_lies_on_its_colour(count: int, width: int) -> None:
    weights = test_figures.attention(count)[0]
    picture = figures.HeadMap(weights, pieces(count), layer=0, head=0)
    cells = picture.cells(width)
    colors = painted(picture, width, cells)
    assert there(cells) == list(zip(*(n.tolist() for n in np.tril_indices(count)), strict=True))
    for at in there(cells)[:: max(1, count // 6)]:
        assert colors[at][:3] == pytest.approx(shade(weights[at]), abs=4)


def test_a_cell_of_a_map_says_who_takes_how_much_from_whom() -> None:
    cells = figures.HeadMap(SHARES, NAMES, layer=0, head=0).cells(700)
    assert cells.rows == cells.columns == ["The", " cat", "⏎"]
    assert cells.values == [
        ["100 %", "", ""],
        ["25.0 %", "75.0 %", ""],
        ["50.0 %", "10.0 %", "40.0 %"],
    ]
    assert cells.said == "“{row}” takes {value} from “{column}”"
    lengths = figures.AttentionMap(5 * SHARES, NAMES, "", unit="length", high=5).cells(700)
    assert lengths.values[2] == ["2.5", "0.5", "2"]


@pytest.mark.parametrize("width", [200, *WIDTHS])
@pytest.mark.parametrize("shape", [(1, 1), (8, 9), (12, 12), (48, 25)])
def test_a_cell_of_the_tiles_lies_on_its_head(shape: tuple[int, int], width: int) -> None:
    maps = np.zeros((*shape, 2, 2))
    maps[-1, 0] = 1
    picture = head_tiles(maps, [["", "", "induction"][: shape[1]]])
    cells = picture.cells(width)
    colors = painted(picture, width, cells)
    bright = [at for at in there(cells) if colors[at][0] > 200]
    assert bright == [(shape[0] - 1, 0)]
    assert len(there(cells)) == shape[0] * shape[1]
    said = cells.said.format(row=cells.rows[0], column=cells.columns[-1], value=cells.values[0][-1])
    if shape[1] == 1:
        assert said == f"layer 0, head 0: {HEAD_LABELS[0]} 0 %"
    else:
        assert cells.values[0][2] == "induction 100 %"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [3, 9, 49])
def test_a_cell_of_the_lens_lies_on_its_guess(rows: int, width: int) -> None:
    probs = np.linspace(0, 1, rows)
    picture = lens([[f"w{row}", "·b"] for row in range(rows)], probs, ["The", " cat"])
    cells = picture.cells(width)
    colors = painted(picture, width, cells)
    shown = figures.lens.lens_rows(rows)
    for place, row in enumerate(shown):
        assert colors[place, 1][:3] == pytest.approx(shade(probs[row]), abs=4)
        assert cells.values[place][0] == f"“w{row}” {figures.percent(probs[row])}"
    assert cells.rows[-1] == "output"
    assert cells.columns == ["The", " cat"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", [(2, 3), (8, 8), (48, 25)])
def test_a_cell_of_what_is_switched_off_lies_on_its_colour(
    shape: tuple[int, int], width: int
) -> None:
    heads, mlps = np.zeros(shape), np.full(shape[0], 0.5)
    heads[-1, 1] = -0.5
    heads[0, 0] = np.nan
    picture = figures.AblationGrid(heads, mlps, "a")
    cells = picture.cells(width)
    colors = painted(picture, width, cells)
    assert cell(cells, 0, 0) == ""
    assert colors[0, 0][3] == 0
    assert cells.columns[-2:] == [f"head {shape[1] - 1}", "MLP"]
    assert cell(cells, shape[0] - 1, 1) == "-0.50"
    assert colors[-1, 1][2] > colors[-1, 1][0] + 50
    assert (colors[:, -1, 0] > colors[:, -1, 2] + 50).all()
    assert "{value} nats" in cells.said


def test_a_cell_of_an_overview_is_a_run_of_tokens() -> None:
    pooled = np.tri(128) * np.linspace(0, 1, 128)[:, None]
    picture = figures.OverviewMap(pooled, range(0, 1025, 8), "All")
    cells = picture.cells(700)
    assert len(cells.rows) == 32
    assert cells.rows[:2] == ["tokens 0 to 31", "tokens 32 to 63"]
    assert cell(cells, 0, 1) == ""
    assert cell(cells, 31, 0) == f"{pooled[124:, 0].mean():.2g}"
    colors = painted(picture, 700, cells)
    assert colors[31, 0][:3] == pytest.approx(shade(pooled[126, 0]), abs=8)
    few = figures.OverviewMap(np.tri(3), (0, 3, 6, 9), "All").cells(700)
    assert few.rows == ["tokens 0 to 2", "tokens 3 to 5", "tokens 6 to 8"]


PICTURES: dict[str, Callable[[], Picture]] = test_figures.PICTURES | {
    name: lambda make=make: make(pieces(64), 700)
    for name, make in test_figures_inside.PICTURES.items()
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_says_its_cells_or_that_it_has_none(name: str) -> None:
    picture = PICTURES[name]()
    cells = picture.cells(700)
    if cells is None:
        return
    assert len(cells.values) == len(cells.rows)
    assert {len(row) for row in cells.values} == {len(cells.columns)}
    data = json.loads(json.dumps(cells.as_json()))
    names = "left top across down gap rows columns values said"
    assert " ".join(data) == names
    across, down = picture.figure(LIGHT, 700).get_size_inches() * 72
    assert cells.left + len(cells.columns) * cells.across - cells.gap <= across + 0.1
    assert cells.top + len(cells.rows) * cells.down - cells.gap <= down + 0.1
    assert "{value}" in cells.said


def test_names_that_are_not_as_many_as_cells_are_refused() -> None:
    grid = figures.base.grid.Grid(0, 0, 1, 2, 10, 10)
    with pytest.raises(ValueError, match="1 rows and 1 columns of 1 values are not 1 by 2 cells"):
        Cells.of(grid, ["a"], ["b"], [["c"]], "")
