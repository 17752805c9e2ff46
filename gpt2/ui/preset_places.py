"""Where to look in what a model made of a preset."""

from gpt2.engine import Engine
from gpt2.records import HEAD_LABELS, Trace, Verdict
from gpt2.ui.presets import OPENING_MARK, SHIPPED, Place, Preset


def place(preset: Preset, engine: Engine, record: Trace | Verdict) -> Place:
    """Where to look in what a model made of a preset: as noted for the shipped one, else found."""
    token = _first(record) if preset.token is None else preset.token
    if record.model == SHIPPED[preset.tab] and token < len(record.ids):
        tokenizer = engine.catalog.tokenizer(record.model)
        if tokenizer.decode([record.ids[token]]) == preset.reads:
            return Place(token, preset.layer, preset.head, as_measured=True)
    return found(preset, engine, record)


def found(preset: Preset, engine: Engine, record: Trace | Verdict) -> Place:
    """The same by the preset's rules."""
    token = _found_token(preset, engine, record)
    return Place(token, *_found_head(preset, engine, record, token))


def _first(record: Trace | Verdict) -> int:
    """The first token that was drawn; of a text that was read, the first after another."""
    return len(record.prompt_ids) if isinstance(record, Trace) else 1


def _found_token(preset: Preset, engine: Engine, record: Trace | Verdict) -> int:
    last = len(record.ids) - 1
    if isinstance(record, Verdict):
        leading = record.per_token.argmax(axis=1)
        turns = [i for i in range(1, last + 1) if leading[i] != leading[i - 1]]
        return turns[-1] if turns else last
    first = _first(record)
    decode = engine.catalog.tokenizer(record.model).decode
    drawn = {i: decode([record.ids[i]]) for i in range(first, last + 1)}
    if preset.token_rule == "last":
        return last
    if preset.token_rule == "unlikeliest":
        # A word that begins: the rest of one may be of a high rank and yet no surprise to see.
        words = [i for i, text in drawn.items() if text.startswith(" ")]
        return max(words, key=lambda i: record.steps[i - first].rank, default=first)
    if preset.token_rule == "closing":
        return next((i for i, text in drawn.items() if '"' in text), last)
    return min(first if preset.token is None else preset.token, last)


def _found_head(
    preset: Preset, engine: Engine, record: Trace | Verdict, token: int
) -> tuple[int, int]:
    inspector, model = engine.inspector, record.model
    layers = engine.catalog.config(model).n_layer
    if preset.head_rule in HEAD_LABELS:
        scores = inspector.model_heads(model=model).scores[HEAD_LABELS.index(preset.head_rule)]
        layer, head = divmod(int(scores.argmax()), scores.shape[1])
        return layer, head
    decode = engine.catalog.tokenizer(model).decode
    marks = [i for i in range(token) if '"' in decode([record.ids[i]])]
    if preset.head_rule == OPENING_MARK and marks:
        row, mark = (token - 1, token), (marks[-1], marks[-1] + 1)
        ids, best = record.ids[:token], (-1.0, 0, -1)
        for layer in range(layers):
            weights = inspector.attention_window(ids, layer, rows=row, columns=mark, model=model)
            head = int(weights.argmax())
            best = max(best, (float(weights.flat[head]), layer, head))
        return best[1:]
    return min(preset.layer, layers - 1), -1
