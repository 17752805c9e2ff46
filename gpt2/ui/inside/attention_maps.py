"""The drawings of the Attention section: one map, a layer's heads, all heads of the model.

No components.
"""

from dataclasses import dataclass

import numpy as np

from gpt2.engine import Engine
from gpt2.figures import (
    AttentionMap,
    HeadMap,
    HeadTiles,
    LayerMaps,
    OverviewMap,
    Picture,
    head_name,
    percent,
)
from gpt2.records import HEAD_LABELS
from gpt2.ui.page import Viewport, note
from gpt2.ui.picture import Drawing

ONE_HEAD, ROLLOUT, WEIGHTED = "attention", "rollout through all layers", "weighted by value"
KINDS = {
    ONE_HEAD: "How much each token takes from each token before it, in one head.",
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
        return self.engine.inspector.attention_window(
            self.ids,
            self.layer,
            rows=self.window,
            columns=self.window,
            model=self.model,
            weighted=kind == WEIGHTED,
        )

    def single(self, kind: str) -> Drawing:
        """One map, large."""
        tokens = {"pieces": self.pieces(), "words": self.words(), "first": self.first}
        name = f"attention-layer-{self.layer}-head-{self.head}"
        if kind == ROLLOUT:
            window = slice(*self.window)
            shown = self.engine.inspector.rollout(self.ids, model=self.model)[window, window]
            title, name = "Rollout: the tokens that each place is made of", "attention-rollout"
            picture: Picture = AttentionMap(shown, title=title, **tokens)
        elif kind == ONE_HEAD:
            shown = self._of_head(self.layer_maps(kind))
            picture = HeadMap(shown, layer=self.layer, head=self.head, **tokens)
        else:
            shown = self._of_head(self.layer_maps(kind))
            title = f"Layer {self.layer}, {head_name(self.head)}: length of what each token takes"
            look = {"unit": "length of the weighted vector", "high": max(float(shown.max()), 1e-9)}
            picture = AttentionMap(shown, title=title, **look, **tokens)
        return Drawing(picture, self.screen, name, widest=760)

    def overview(self, kind: str) -> Drawing | str:
        """A text much too long for one map as a whole, with the map's window outlined."""
        if 2 * len(self.ids) < 3 * self.engine.limits.attention_tokens:
            return ""
        pooled = self.engine.inspector.overview(
            self.ids, self.layer, OVERVIEW_CELLS, model=self.model, weighted=kind == WEIGHTED
        )
        cells = self._of_head(pooled.weights)
        title = f"Layer {self.layer}, {head_name(self.head)}: the whole text"
        high = max(1.0, float(cells.max()))
        picture = OverviewMap(cells, pooled.edges, title, window=self.window, high=high)
        name = f"attention-overview-layer-{self.layer}-head-{self.head}"
        return Drawing(picture, self.screen, name, widest=560, clickable=True)

    def whole_layer(self, kind: str) -> Drawing:
        """The maps of all heads of the layer, small."""
        maps = self.layer_maps(ONE_HEAD if kind == ROLLOUT else kind)
        maps = maps / max(1.0, float(maps.max()))
        selected = self.head if self.head >= 0 else None
        picture = LayerMaps(maps, self.layer, selected, self.first)
        return Drawing(picture, self.screen, f"attention-layer-{self.layer}", clickable=True)

    def whole_model(self) -> Drawing:
        """The maps of all heads of all layers, as tiles that say what each was measured to do."""
        maps = self.engine.inspector.tiles(self.ids, TILE_CELLS, model=self.model).weights
        found = self.engine.inspector.model_heads(model=self.model)
        picture = HeadTiles(maps, found, selected=(self.layer, max(0, self.head)))
        return Drawing(picture, self.screen, "attention-all-heads", clickable=True)

    def _of_head(self, maps: np.ndarray) -> np.ndarray:
        """Of the maps of a layer's heads the chosen one, or their mean."""
        return maps.mean(axis=0) if self.head < 0 else maps[self.head]

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
            model = self.engine.inspector.model_heads(model=self.model).scores[
                :, self.layer, self.head
            ]
            text = self.engine.inspector.heads(self.ids, model=self.model).scores[
                :, self.layer, self.head
            ]
            measured = " · ".join(
                f"{label} {percent(float(general))} ({percent(float(here))} here)"
                for label, general, here in zip(HEAD_LABELS, model, text, strict=True)
            )
            words += f" Share of its attention, on repeated random tokens: {measured}."
        return note(words)
