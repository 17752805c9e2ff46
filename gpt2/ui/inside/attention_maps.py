"""The drawings of the Attention section: one map, a layer's heads, all heads of the model.

No components. Imports: engine, figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt2.engine import Engine
from gpt2.figures import (
    attention_head_alt,
    attention_head_figure,
    attention_layer_alt,
    attention_layer_figure,
    attention_map_alt,
    attention_map_figure,
    overview_alt,
    overview_figure,
    percent,
    tiles_alt,
    tiles_figure,
)
from gpt2.records import HEAD_LABELS, HeadScores
from gpt2.ui.page import Viewport, note
from gpt2.ui.picture import Drawing

HEAD, ROLLOUT, WEIGHTED = "attention", "rollout through all layers", "weighted by value"
KINDS = {
    HEAD: "How much each token takes from each token before it, in one head.",
    WEIGHTED: "The same, each share times the length of the vector that it moves (Kobayashi et al. "
    "2020): a bright share of nothing goes dark.",
    ROLLOUT: "Attention followed down through all layers, mean over heads (Abnar & Zuidema 2020): "
    "from which tokens each place is made.",
}
TILE_CELLS = 24  # a side of a head's tile
OVERVIEW_CELLS = 128  # a side of an overview


@dataclass(frozen=True)
class AttentionMaps:
    """What is drawn: a text, and a place in its attention."""

    engine: Engine
    model: str
    ids: tuple[int, ...]
    layer: int
    head: int
    start: int
    screen: Viewport

    @property
    def last_start(self) -> int:
        """The last token that a map may start at."""
        return max(0, len(self.ids) - self.engine.limits.attention_tokens)

    @property
    def first(self) -> int:
        """The token that the map starts at."""
        return min(self.start, self.last_start)

    @property
    def window(self) -> tuple[int, int]:
        """The tokens of the map."""
        return self.first, min(self.first + self.engine.limits.attention_tokens, len(self.ids))

    def pieces(self) -> list[str]:
        """The window's tokens, as pictures show them."""
        return self.engine.catalog.drawn(self.ids[slice(*self.window)], model=self.model)

    def words(self) -> list[str]:
        """The window's tokens, for tables."""
        return self.engine.catalog.words(self.ids[slice(*self.window)], model=self.model)

    def layer_maps(self, kind: str) -> np.ndarray:
        """The window's map of every head of the layer, [H, T, T]."""
        return self.engine.attention_window(
            self.ids,
            self.layer,
            rows=self.window,
            columns=self.window,
            model=self.model,
            weighted=kind == WEIGHTED,
        )

    def single(self, kind: str) -> Drawing:
        """One map, large."""
        width = min(self.screen.width, 760)
        look = {"theme": self.screen.theme, "width": width}
        pieces, place = self.pieces(), {"layer": self.layer, "head": self.head}
        name = f"attention-layer-{self.layer}-head-{self.head}"
        if kind == ROLLOUT:
            window = slice(*self.window)
            shown = self.engine.rollout(self.ids, model=self.model)[window, window]
            title, name = "Rollout: the tokens that each place is made of", "attention-rollout"
        else:
            maps = self.layer_maps(kind)
            shown = maps.mean(axis=0) if self.head < 0 else maps[self.head]
            title = f"Layer {self.layer}, {_head_name(self.head)}: length of what each token takes"
        if kind == HEAD:
            figure = attention_head_figure(shown, pieces, **place, **look)
            alt = attention_head_alt(shown, pieces, **place)
        elif kind == ROLLOUT:
            figure = attention_map_figure(shown, pieces, title=title, **look)
            alt = attention_map_alt(shown, pieces, title=title)
        else:
            high = max(float(shown.max()), 1e-9)
            unit = "length of the weighted vector"
            figure = attention_map_figure(shown, pieces, title=title, unit=unit, high=high, **look)
            alt = attention_map_alt(shown, pieces, title=title, high=high)
        return Drawing(figure, alt, width, name, lambda: _columns(shown, self.words(), self.first))

    def overview(self, kind: str) -> Drawing | str:
        """A text much too long for one map as a whole, with the map's window outlined."""
        if 2 * len(self.ids) < 3 * self.engine.limits.attention_tokens:
            return ""
        pooled = self.engine.overview(
            self.ids, self.layer, OVERVIEW_CELLS, model=self.model, weighted=kind == WEIGHTED
        )
        maps = pooled.weights
        cells = maps.mean(axis=0) if self.head < 0 else maps[self.head]
        values = {
            "tokens": len(self.ids),
            "window": self.window,
            "title": f"Layer {self.layer}, {_head_name(self.head)}: the whole text",
            "high": max(1.0, float(cells.max())),
        }
        width = min(self.screen.width, 560)
        return Drawing(
            overview_figure(cells, **values, theme=self.screen.theme, width=width),
            overview_alt(cells, **values),
            width,
            f"attention-overview-layer-{self.layer}-head-{self.head}",
            lambda: _cell_columns(cells, pooled.edges),
            clickable=True,
        )

    def whole_layer(self, kind: str) -> Drawing:
        """The maps of all heads of the layer, small."""
        maps = self.layer_maps(HEAD if kind == ROLLOUT else kind)
        maps = maps / max(1.0, float(maps.max()))
        selected = self.head if self.head >= 0 else None
        look = {"theme": self.screen.theme, "width": self.screen.width}
        return Drawing(
            attention_layer_figure(maps, layer=self.layer, selected=selected, **look),
            attention_layer_alt(maps, layer=self.layer),
            self.screen.width,
            f"attention-layer-{self.layer}",
            lambda: _head_columns(maps, self.layer, self.first),
            clickable=True,
        )

    def whole_model(self) -> Drawing:
        """The maps of all heads of all layers, as tiles that say what each was measured to do."""
        maps = self.engine.tiles(self.ids, TILE_CELLS, model=self.model).weights
        found = self.engine.model_heads(model=self.model)
        layers, heads = maps.shape[:2]
        labels = [[found.label(layer, head) for head in range(heads)] for layer in range(layers)]
        look = {"theme": self.screen.theme, "width": self.screen.width}
        return Drawing(
            tiles_figure(maps, selected=(self.layer, max(0, self.head)), labels=labels, **look),
            tiles_alt(maps, labels=labels),
            self.screen.width,
            "attention-all-heads",
            lambda: _score_columns(found),
            clickable=True,
        )

    def what_it_does(self, kind: str) -> str:
        """What is shown, and what the head was measured to do, in words."""
        words = KINDS[kind]
        if self.last_start:
            first, end = self.window
            words += (
                f" Shown: tokens {first} to {end - 1} of {len(self.ids)}; a map holds "
                f"{self.engine.limits.attention_tokens} a side."
            )
        if kind != ROLLOUT and self.head >= 0:
            model = self.engine.model_heads(model=self.model).scores[:, self.layer, self.head]
            text = self.engine.heads(self.ids, model=self.model).scores[:, self.layer, self.head]
            measured = " · ".join(
                f"{label} {percent(float(general))} ({percent(float(here))} here)"
                for label, general, here in zip(HEAD_LABELS, model, text, strict=True)
            )
            words += f" Share of its attention, on repeated random tokens: {measured}."
        return note(words)


def _columns(values: np.ndarray, pieces: Sequence[str], first: int) -> dict[str, list]:
    """A map as columns: every pair of tokens, the one that looks and the one looked at."""
    rows, columns = np.tril_indices(len(values))
    return {
        "query": (rows + first).tolist(),
        "query token": [pieces[row] for row in rows],
        "key": (columns + first).tolist(),
        "key token": [pieces[column] for column in columns],
        "value": values[rows, columns].tolist(),
    }


def _cell_columns(cells: np.ndarray, edges: Sequence[int]) -> dict[str, list]:
    """An overview as columns: every pair of runs of tokens, by the first token of each."""
    rows, columns = np.tril_indices(len(cells))
    return {
        "query from": [edges[row] for row in rows],
        "key from": [edges[column] for column in columns],
        "value": cells[rows, columns].tolist(),
    }


def _head_columns(maps: np.ndarray, layer: int, first: int) -> dict[str, list]:
    """The maps of a layer's heads as columns."""
    rows, columns = np.tril_indices(maps.shape[-1])
    heads = range(len(maps))
    return {
        "layer": [layer] * (len(rows) * len(maps)),
        "head": [head for head in heads for _ in rows],
        "query": [int(row) + first for _ in heads for row in rows],
        "key": [int(column) + first for _ in heads for column in columns],
        "value": [float(value) for one in maps for value in one[rows, columns]],
    }


def _score_columns(found: HeadScores) -> dict[str, list]:
    """What every head was measured to do, as columns."""
    _, layers, heads = found.scores.shape
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    table = {"layer": [place[0] for place in places], "head": [place[1] for place in places]}
    for label, scores in zip(HEAD_LABELS, found.scores, strict=True):
        table[label] = [float(scores[place]) for place in places]
    return table


def _head_name(head: int) -> str:
    return "mean over heads" if head < 0 else f"head {head}"
