"""The drawings of the attention view: one map, all heads of the model, a long text as a whole."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpt2.engine import Engine
from gpt2.figures import AttentionMap, HeadMap, HeadTiles, OverviewMap, Picture, head_name, percent
from gpt2.records import HEAD_LABELS
from gpt2.ui.page import note
from gpt2.ui.picture import Drawing
from gpt2.ui.view import GAP, left_width

COLUMN = 290  # CSS pixels beside the map, at least
PICKER = 180  # of all heads, where the whole of a long text is below it
OVERVIEW = 300  # an overview is drawn for
WIDE = 1000  # a view that belongs to a high window
WIDEST, USUAL = 620, 440  # a map is at most, there and elsewhere
TILE_CELLS = 24  # a side of a head's tile
OVERVIEW_CELLS = 128  # a side of an overview
LENGTH = "length of the weighted vector"


class Kind(NamedTuple):
    """What a map can show."""

    title: str
    words: str


TARGETS = {  # of what heads are known to do
    "previous token": "the token before",
    "first token": "the first token",
    "duplicate token": "the same token earlier on",
    "induction": "what came after the same token earlier on (induction)",
}
ATTENTION, WEIGHTED, ROLLOUT = "attention", "weighted", "rollout"
KINDS = {
    ATTENTION: Kind("attention", ""),
    WEIGHTED: Kind(
        "weighted by value",
        "Each share is weighted by the length of the vector that it moves, so that a bright share "
        "of nothing goes dark (Kobayashi et al. 2020).",
    ),
    ROLLOUT: Kind(
        "rollout",
        "Attention followed down through all layers, mean over heads: which tokens each place is "
        "made of (Abnar & Zuidema 2020). Pick a head to come back.",
    ),
}


@dataclass(frozen=True)
class AttentionMaps:
    """What is drawn: a text, and a place in its attention.

    Args:
        ids: the tokens that the model reads.
        kind: of KINDS.
        layer, head: head -1 is the mean over heads.
        first: the token that the map starts at.
        width: of the view.
    """

    engine: Engine
    model: str
    ids: tuple[int, ...]
    kind: str
    layer: int
    head: int
    first: int
    width: int

    @property
    def window(self) -> tuple[int, int]:
        """The tokens of the map: the first, and the one after the last."""
        return self.first, min(self.first + self.engine.limits.attention_tokens, len(self.ids))

    @property
    def whole(self) -> bool:
        """Whether the map holds the whole text."""
        return self.window == (0, len(self.ids))

    @property
    def beside(self) -> bool:
        """Whether the heads have room beside the map."""
        return left_width(self.width, COLUMN) < self.width

    @property
    def map_width(self) -> int:
        """Of the map, so that the view fits a window."""
        most = WIDEST if self.width >= WIDE else USUAL
        return min(left_width(self.width, COLUMN), most) if self.beside else self.width

    def single(self) -> Drawing:
        """One map, large."""
        shown_ids = self.ids[slice(*self.window)]
        tokens = {
            "pieces": self.engine.catalog.drawn(shown_ids, model=self.model),
            "words": self.engine.catalog.words(shown_ids, model=self.model),
            "first": self.first,
        }
        name = f"attention-layer-{self.layer}-head-{self.head}"
        if self.kind == ROLLOUT:
            window = slice(*self.window)
            shown = self.engine.inspector.rollout(self.ids, model=self.model)[window, window]
            title, name = "Rollout: the tokens that each place is made of", "attention-rollout"
            picture: Picture = AttentionMap(shown, title=title, **tokens)
        elif self.kind == ATTENTION:
            picture = HeadMap(self._maps(), layer=self.layer, head=self.head, **tokens)
        else:
            shown = self._maps()
            title = f"Layer {self.layer}, {head_name(self.head)}: length of what each token takes"
            high = max(float(shown.max()), 1e-9)
            picture = AttentionMap(shown, title=title, unit=LENGTH, high=high, **tokens)
        return Drawing(picture, self.map_width, name, picks="row", places=range(*self.window))

    def overview(self) -> Drawing | str:
        """A text too long for one map as a whole, with the map's window outlined."""
        if self.whole:
            return ""
        pooled = self.engine.inspector.overview(
            self.ids,
            self.layer,
            OVERVIEW_CELLS,
            model=self.model,
            weighted=self.kind == WEIGHTED,
        )
        cells = self._of_head(pooled.weights)
        title = f"The whole text: layer {self.layer}, {head_name(self.head)}"
        look: dict[str, Any] = {}
        if self.kind == WEIGHTED:
            look = {"unit": LENGTH, "high": max(float(cells.max()), 1e-9)}
        picture = OverviewMap(cells, pooled.edges, title, window=self.window, **look)
        width = OVERVIEW if self.beside else min(self.width, 420)
        name = f"attention-overview-layer-{self.layer}-head-{self.head}"
        starts = [int(n) for n in np.linspace(0, len(self.ids), len(picture.cells(width).rows) + 1)]
        return Drawing(picture, width, name, picks="window", places=starts[:-1])

    def whole_model(self) -> Drawing:
        """The maps of all heads of all layers, as tiles that say what each was measured to do."""
        maps = self.engine.inspector.tiles(self.ids, TILE_CELLS, model=self.model).weights
        picture = HeadTiles(maps, self.engine.inspector.model_heads(model=self.model))
        width = min(self.width, 480)
        if self.beside:
            width = min(self.width - GAP - self.map_width, 340) if self.whole else PICKER
        return Drawing(picture, width, "attention-all-heads", picks="head")

    def what_it_does(self) -> str:
        """What is shown, and what the head was measured to do, in words."""
        words = [KINDS[self.kind].words]
        if self.kind != ROLLOUT:
            words.insert(0, self._measured())
        if not self.whole:
            words.append("Click the whole text to move the map.")
        return note(" ".join(filter(None, words)))

    def _measured(self) -> str:
        """What the head looks at most, of what heads are known to do."""
        if self.head < 0:
            return f"The mean over all heads of layer {self.layer}; pick one to see what it does."
        general, here = (
            scores.scores[:, self.layer, self.head]
            for scores in (
                self.engine.inspector.model_heads(model=self.model),
                self.engine.inspector.heads(self.ids, model=self.model),
            )
        )
        most = int(general.argmax())
        return (
            f"Head {self.head} of layer {self.layer} gives {percent(float(general[most]))} of its "
            f"attention to {TARGETS[HEAD_LABELS[most]]} on repeated random tokens, "
            f"{percent(float(here[most]))} in this text."
        )

    def _maps(self) -> np.ndarray:
        """The window's map of the head, [T, T]."""
        maps = self.engine.inspector.attention_window(
            self.ids,
            self.layer,
            rows=self.window,
            columns=self.window,
            model=self.model,
            weighted=self.kind == WEIGHTED,
        )
        return self._of_head(maps)

    def _of_head(self, maps: np.ndarray) -> np.ndarray:
        """Of the maps of a layer's heads the chosen one, or their mean."""
        return maps.mean(axis=0) if self.head < 0 else maps[self.head]
