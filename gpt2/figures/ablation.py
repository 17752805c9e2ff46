"""What a prediction loses when one head, or one MLP, is switched off."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import Canvas, ink, line_height
from gpt2.figures.base.cells import Cells
from gpt2.figures.base.grid import Grid, number_grid
from gpt2.figures.base.heatmap import TITLE, Scale, bar_height, color_bar, signed_colors
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.style import LIGHT, PHONE, Theme, check_width, font_size, tallest
from gpt2.figures.base.text import counted, named, quoted, text_width

STRONGEST = 3  # how many are named

_LIMIT = 1e6  # a change is any number
_SIDE = 38  # the layers' numbers at the left


@dataclass(frozen=True, eq=False)
class AblationGrid:
    """A cell for each head and a last column for the MLPs; the strongest are named below.

    The colours are scaled to the heads. An MLP can weigh a hundred times more; it then has the last
    colour of the scale, and its number tells.

    Args:
        heads: [L, H] change of the token's log-probability when a head is off, in nats; negative
            where the head helped. Layers that are not known yet are NaN and stay empty.
        mlps: [L] the same for the MLPs.
        piece: the token.

    Raises:
        ValueError: lengths differ, or a value is not a number.
    """

    heads: np.ndarray
    mlps: np.ndarray
    piece: str

    def __post_init__(self) -> None:
        bounds = {"low": -_LIMIT, "high": _LIMIT, "missing": True}
        heads = check_field(self, "heads", (None, None), **bounds)
        check_field(self, "mlps", heads.shape[:1], **bounds)

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """Layers downward, heads across, the MLP after a line."""
        values, (layers, count) = self._values, self.heads.shape
        grid, size = _grid(layers, count, width), font_size(width) - 1
        strongest = self._strongest()
        listed = [f"{self._name(at)}: {values[at]:+.2f}" for at in strongest]
        lines = ["strongest:", *listed]
        if width >= PHONE:
            lines = [f"strongest: {' · '.join(listed)}"]
        canvas = Canvas(width, grid.bottom + _foot(width), theme)
        canvas.write_title(f"Which parts {named(self.piece)} depends on")
        scale = _scale(self.heads, theme)
        color_bar(canvas, _SIDE, scale)
        y = TITLE + bar_height(size) + 0.7 * size
        canvas.write(_SIDE, y, "blue: less likely without it, so it helped", muted=True)
        word = text_width(["MLP"], size - 1)
        x = min(grid.middle(0, count)[0], width - 2 - word / 2)
        number_grid(canvas, replace(grid, columns=count), end=x - word / 2)
        canvas.write(x, grid.top - 9, "MLP", muted=True, size=size - 1, ha="center")
        shades = scale.colors(scale.norm(values))  # [L,H+1,4], transparent where not known yet
        places = {at: _inset(grid.box(*at), at[1] == count) for at in np.ndindex(values.shape)}
        canvas.boxes(list(places.values()), facecolors=shades.reshape(-1, 4))
        x = grid.box(0, count)[0] - grid.gap / 2
        canvas.boxes([(x, grid.top - 3, 1, grid.bottom - grid.top + 3)], facecolors=theme.muted)
        for at in strongest:
            canvas.outline(places[at], theme.text, line=1.5)
        for at in sorted({*strongest, *((layer, count) for layer in range(layers))}):
            left, top, across, down = places[at]
            words = f"{values[at]:+.2f}"
            fits = text_width([words], size - 1) + 2 < across and size < down + 1
            if fits and not np.isnan(values[at]):
                style = {"size": size - 1, "ha": "center", "color": ink(shades[at][:3])}
                canvas.write(left + across / 2, top + down / 2, words, **style)
        canvas.write_lines(2, grid.bottom + 1.2 * size, lines)
        return canvas.figure

    def cells(self, width: int) -> Cells:
        """A cell for each head, and one for each MLP after them; none where not known yet."""
        layers, count = self.heads.shape
        values = [
            ["" if np.isnan(value) else f"{value:+.2f}" for value in row]
            for row in self._values.tolist()
        ]
        rows = [f"layer {layer}" for layer in range(layers)]
        columns = [*(f"head {head}" for head in range(count)), "MLP"]
        said = "{row}, {column}: {value} nats of log-probability when off"
        return Cells.of(_grid(layers, count, width), rows, columns, values, said)

    def alt(self) -> str:
        """The strongest, and how much is known."""
        values, (layers, count) = self._values, self.heads.shape
        said = f"Change of the log-probability of {quoted(self.piece)} when each of "
        said += f"{counted(layers, 'layer')} of {counted(count, 'head')} or an MLP is off. "
        listed = [f"{self._name(at)}, {values[at]:+.2f} nats" for at in self._strongest()]
        known = int((~np.isnan(values[:, 0])).sum())
        said += f"Known so far: {known} of them. " if known < layers else ""
        return said + f"Strongest: {'; '.join(listed)}."

    def columns(self) -> dict[str, Sequence]:
        """A row for each part."""
        layers, places = np.indices(self.heads.shape).reshape(2, -1).tolist()
        return {
            "layer": [*layers, *range(len(self.mlps))],
            "part": [*(f"head {head}" for head in places), *(["MLP"] * len(self.mlps))],
            "change of log-probability (nats)": [*self.heads.ravel().tolist(), *self.mlps.tolist()],
        }

    @property
    def _values(self) -> np.ndarray:
        """[L, H + 1], the MLPs last."""
        return np.column_stack([self.heads, self.mlps])

    def _strongest(self) -> list[tuple[int, int]]:
        values = self._values
        order = np.argsort(-np.nan_to_num(np.abs(values)), axis=None, kind="stable")[:STRONGEST]
        rows, columns = np.unravel_index(order, values.shape)
        return list(zip(rows.tolist(), columns.tolist(), strict=True))

    def _name(self, at: tuple[int, int]) -> str:
        heads = self.heads.shape[1]
        return f"layer {at[0]}, " + (f"head {at[1]}" if at[1] < heads else "MLP")


def _scale(values: np.ndarray, theme: Theme) -> Scale:
    """A scale centred on zero on which the square root gets the colour."""
    most = max(float(np.nanmax(np.abs(values))), 1e-9)

    def root(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.sqrt(np.abs(x))

    def square(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.square(x)

    norm = FuncNorm((root, square), -most, most)
    ticks = [most * n for n in (-1, -0.25, 0, 0.25, 1)]
    return Scale(signed_colors(theme), norm, ticks, "change of log-probability when off, in nats")


def _grid(layers: int, heads: int, width: int) -> Grid:
    """Where the heads lie, and the MLPs as the last column."""
    check_width(width)
    size = font_size(width) - 1
    across = min((width - _SIDE - 2) / (heads + 1), 48)
    top = TITLE + bar_height(size) + 1.5 * size + 24
    room = tallest(width) - top - _foot(width) - 1
    down = min(max(across, 14), 26, max(room / layers, 5))
    gap = 2 if min(across, down) > 20 else 1
    return Grid(_SIDE, top, layers, heads + 1, across, down, gap)


def _foot(width: int) -> float:
    """CSS pixels below the cells: the strongest on a line, each on one of its own on a phone."""
    size = font_size(width) - 1
    return (1 if width >= PHONE else STRONGEST + 1) * line_height(size) + 0.9 * size


def _inset(
    place: tuple[float, float, float, float], mlp: bool
) -> tuple[float, float, float, float]:
    """A cell, an MLP's a little further from the heads."""
    left, top, across, down = place
    return (left + 2, top, across - 2, down) if mlp else place
