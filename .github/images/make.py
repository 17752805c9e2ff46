"""Draw the README's figures from a real run of the shipped models.

    python .github/images/make.py [DIR]

Writes the PNG files into DIR, beside this script by default, and prints the words that describe
each. page.png is a screenshot of the page and is not made here.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from gpt2 import figures, lens  # noqa: E402
from gpt2.engine import Engine, Request, Sampling  # noqa: E402
from gpt2.figures.base.heatmap import signed_colors  # noqa: E402
from gpt2.figures.base.style import LIGHT, text_style  # noqa: E402
from gpt2.model import GPT2, gelu  # noqa: E402
from gpt2.sampling import distribution  # noqa: E402

WIDTH = 760
SENTENCE = "The president met the prime minister in Paris, and the president said that"
WORDS = [
    *("king", "queen", "president", "minister", "Monday", "Tuesday", "Friday"),
    *("London", "Paris", "Berlin", "three", "four", "five"),
    *("football", "cricket", "goal", "bank", "money", "market"),
]


def cosine(rows: torch.Tensor) -> np.ndarray:
    rows = rows.detach().float()
    rows = rows / rows.norm(dim=-1, keepdim=True)
    return (rows @ rows.T).clamp(-1, 1).numpy()


@torch.inference_mode()
def residual_stream(model: GPT2, ids: list[int]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The stream [T, C] before each block and after the last, and each MLP's input to GELU."""
    x = model.embed(torch.tensor([ids]))
    stream, before_gelu = [x[0]], []
    for block in model.h:
        middle = x + block.attn(block.ln_1(x))
        before_gelu.append(block.mlp.c_fc(block.ln_2(middle))[0])
        x = block(x)
        stream.append(x[0])
    return stream, before_gelu


def new_figure(height: int, title: str = "") -> Figure:
    """An empty transparent figure of a height in CSS pixels, for matplotlib to lay out."""
    size = WIDTH / 72, height / 72
    figure = Figure(figsize=size, dpi=144, facecolor="none", layout="constrained")
    if title:
        figure.suptitle(title, x=2 / WIDTH, ha="left", **text_style(LIGHT, 14))
    return figure


def plain(axes: Axes, size: float, *frame: str) -> None:
    """Take away the frame but for the named sides."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in frame)
        spine.set_color(LIGHT.muted)
    axes.set_facecolor("none")
    axes.tick_params(color=LIGHT.muted, labelcolor=LIGHT.text, labelsize=size, length=3, width=1)


def similarity_figure(matrix: np.ndarray, names: list[str], title: str) -> Figure:
    figure = new_figure(520, title)
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap=signed_colors(LIGHT), vmin=-1, vmax=1)
    step = -(-len(names) // 32)
    places, shown = range(0, len(names), step), names[::step]
    axes.set_xticks(places, shown, **text_style(LIGHT, 11, rotation=90))
    axes.set_yticks(places, shown, **text_style(LIGHT, 11))
    plain(axes, 11)
    bar = figure.colorbar(image, ax=axes, shrink=0.6)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=LIGHT.muted, labelcolor=LIGHT.text, labelsize=11)
    bar.set_label("cosine similarity", **text_style(LIGHT, 11))
    return figure


def alike(matrix: np.ndarray, names: list[str]) -> str:
    """The most and the least alike, in words."""
    rows, columns = np.triu_indices(len(names), 1)
    pairs = matrix[rows, columns]
    places = {"most": int(pairs.argmax()), "least": int(pairs.argmin())}
    said = [
        f"{word} alike {names[rows[at]]} and {names[columns[at]]}, {pairs[at]:.2f}"
        for word, at in places.items()
    ]
    return "; ".join(said)


def gelu_figure(values: torch.Tensor, layer: int) -> Figure:
    figure = new_figure(300, "GELU, and what it is fed")
    left, right = figure.subplots(1, 2)
    x = torch.linspace(-4, 4, 400)
    left.plot(x, gelu(x), color=LIGHT.accent, lw=2)
    left.plot(x, x.clamp(min=0), color=LIGHT.bar, lw=1, ls="--")
    left.text(-3.8, 3.2, "GELU; dashed: max(0, x)", **text_style(LIGHT, 12))
    left.set_xlabel("x", **text_style(LIGHT, 12))
    right.hist(values.flatten().clamp(-4, 4).numpy(), bins=80, color=LIGHT.bar, density=True)
    right.axvline(0, color=LIGHT.accent, lw=1)
    right.set_xlabel(f"x in the MLP of layer {layer}, for every token", **text_style(LIGHT, 12))
    right.set_yticks([])
    for axes in (left, right):
        plain(axes, 12, "left", "bottom")
    return figure


def norm_figure(sizes: np.ndarray) -> Figure:
    title = "The residual stream grows block by block; one line a token, the mean in colour"
    figure = new_figure(280, title)
    axes = figure.subplots()
    for token in range(1, sizes.shape[1]):
        axes.plot(sizes[:, token], color=LIGHT.bar, lw=1, alpha=0.6)
    axes.plot(sizes[:, 1:].mean(axis=1), color=LIGHT.accent, lw=2.5)
    names = ["embedded", *(f"block {i}" for i in range(len(sizes) - 2)), "final norm"]
    axes.set_xticks(range(len(sizes)), names, **text_style(LIGHT, 11, rotation=30))
    axes.set_ylabel("length of the vector", **text_style(LIGHT, 12))
    axes.set_ylim(0)
    plain(axes, 11, "left", "bottom")
    return figure


def temperature_figure(rows: dict[str, np.ndarray], pieces: list[str]) -> Figure:
    figure = new_figure(300)
    grid = figure.subplots(1, len(rows), sharex=True, sharey=True)
    places = np.arange(len(pieces))[::-1]
    for axes, (name, probs) in zip(grid, rows.items(), strict=True):
        axes.barh(places, 100 * probs, color=[LIGHT.accent if p else LIGHT.grid for p in probs])
        axes.set_title(name, loc="left", **text_style(LIGHT, 12))
        axes.set_xlabel("%", **text_style(LIGHT, 11))
        plain(axes, 11, "left")
    grid[0].set_yticks(places, pieces, **text_style(LIGHT, 11))
    return figure


def main(directory: Path = HERE) -> int:
    def save(name: str, figure: Figure, said: str) -> None:
        picture = figures.to_png(figure, background=LIGHT.background)
        (directory / f"{name}.png").write_bytes(picture)
        print(f"{name}: {said}")

    def draw(name: str, picture: figures.Picture) -> None:
        save(name, picture.figure(LIGHT, WIDTH), picture.alt())

    engine = Engine.load(device="cpu")
    model = engine.library.get("mini").backbone
    ids = engine.catalog.encode(SENTENCE, model="mini")
    pieces = engine.catalog.drawn(ids, model="mini")

    word_ids = [engine.catalog.encode(" " + word, model="mini") for word in WORDS]
    assert all(len(row) == 1 for row in word_ids), "each word must be one token"
    matrix = cosine(model.wte.weight[[row[0] for row in word_ids]])
    title = "How alike the embeddings of some words are"
    save("token-embeddings", similarity_figure(matrix, WORDS, title), alike(matrix, WORDS))

    places = [str(place) for place in range(0, 1024, 8)]
    matrix = cosine(model.wpe.weight[::8])
    title = "How alike the embeddings of positions are, every eighth of 1,024"
    save("positional-embeddings", similarity_figure(matrix, places, title), alike(matrix, places))

    reading = lens.Reading.of(model, ids)
    sharpest = max(
        (
            (layer, head)
            for layer in range(model.config.n_layer)
            for head in range(model.config.n_head)
        ),
        key=lambda place: np.diagonal(reading.attention(place[0])[place[1]], offset=-1).mean(),
    )
    layer, head = sharpest
    draw("attention-head", figures.HeadMap(reading.attention(layer)[head], pieces, layer, head))
    tiles = engine.inspector.tiles(ids, 24, model="mini").weights
    draw("attention-heads", figures.HeadTiles(tiles, engine.inspector.model_heads(model="mini")))

    stream, before_gelu = residual_stream(model, ids)
    share = float((before_gelu[3] < 0).float().mean())
    said = f"{100 * share:.0f} % of GELU's inputs in layer 3 are negative"
    save("gelu", gelu_figure(before_gelu[3], 3), said)
    with torch.inference_mode():
        final = model.ln_f(stream[-1])
    sizes = np.array([rows.norm(dim=-1).numpy() for rows in [*stream, final]])
    means = sizes[:, 1:].mean(axis=1)
    said = f"mean length {means[0]:.1f} embedded, {means[-2]:.1f} after the last block, "
    save("final-norm", norm_figure(sizes), said + f"{means[-1]:.1f} after the final norm")

    *_, trace = engine.generate(Request(SENTENCE, 1, Sampling(seed=1)))
    step = trace.steps[0]
    drawn = step.top_ids.index(step.id) if step.id in step.top_ids else None
    top = engine.catalog.drawn(step.top_ids, model="mini")
    bars = figures.TokenBars(top, step.top_probs, step.top_sampled_probs, drawn)
    draw("language-head", bars)
    headline = "Oil prices climb as refineries shut down ahead of the storm, lifting shares."
    verdict = engine.inspector.classify(headline)
    read = engine.catalog.drawn(verdict.ids, model=verdict.model)
    draw("classification-head", figures.TopicLines(verdict.per_token, read, verdict.labels))

    logits = reading.logits_before(len(ids))
    chosen = logits.topk(8).indices
    rows = {
        name: distribution(logits, sampling, torch.tensor(ids))[chosen].numpy()
        for name, sampling in {
            "as it is": Sampling(temperature=1, top_k=0),
            "temperature 0.5": Sampling(temperature=0.5, top_k=0),
            "temperature 1.5": Sampling(temperature=1.5, top_k=0),
            "top-k 4": Sampling(temperature=1, top_k=4),
        }.items()
    }
    best = engine.catalog.drawn(chosen.tolist(), model="mini")
    shares = ", ".join(f"{name}: {100 * probs[0]:.0f} %" for name, probs in rows.items())
    save("sampling", temperature_figure(rows, best), f"probability of “{best[0]}” {shares}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
