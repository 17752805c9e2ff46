"""What the form of the Generate tab says of itself: lengths, settings, limits."""

import json

from gpt2.engine import Engine


def count_js(limit: int) -> str:
    """Fills an event's last input with the length of the first, a text, and leaves out one that is
    over the limit: the web server would refuse to read it."""
    return f"""(text, ...rest) => {{
        rest[rest.length - 1] = [...text].length;
        return [rest[rest.length - 1] > {limit} ? "" : text, ...rest];
    }}"""


def count_words(engine: Engine, prompt: str | None, model: str, length: object = None) -> str:
    """How much of the context a prompt takes.

    Args:
        length: characters of a prompt so long that the page does not send it, see count_js.
    """
    prompt, limit = prompt or "", engine.limits.prompt_chars
    if isinstance(length, int) and length > limit:
        return f"the prompt has {length:,} characters; the limit is {limit:,}; shorten it"
    try:
        engine.library.get(model)  # one that was just picked may not load
        context = engine.catalog.config(model).n_ctx
        tokens = len(engine.catalog.encode(prompt, model=model)) if prompt else 0
    except (ValueError, OSError) as error:
        return str(error)
    words = f"{tokens:,} of {context:,} tokens"
    if tokens > context:
        words += "; the beginning will be dropped, the end is kept"
    if prompt.endswith(" "):
        words += "; it ends in a space, but GPT-2's words bring their own: better remove it"
    return words


def drawn_words(
    temperature: float, top_k: float, top_p: float, min_p: float, penalty: float
) -> list[str]:
    """How tokens are drawn, of each setting that is on."""
    return [
        "greedy" if temperature == 0 else f"temperature {temperature:g}",
        f"top-k {top_k:g}" if top_k else "all tokens",
        *([f"top-p {top_p:g}"] if top_p != 1 else []),
        *([f"min-p {min_p:g}"] if min_p else []),
        *([f"penalty {penalty:g}"] if penalty != 1 else []),
    ]


def settings_words(count: float, *drawn: float, seed: float | None, stop: str = "") -> str:
    """The settings, for the closed section's title.

    Args:
        drawn: as of drawn_words.
    """
    words = [
        *drawn_words(*drawn),
        f"{count:g} tokens",
        f"seed {seed or 0:g}",
        *([f"stop at {json.dumps(stop, ensure_ascii=False)}"] if stop else []),
    ]
    return f"Settings: {' · '.join(words)}"


def limits_words(engine: Engine) -> str:
    """What one request may ask for."""
    limits = engine.limits
    return (
        f"Limits: {limits.prompt_chars:,} characters of prompt, {limits.new_tokens} new tokens and "
        f"{limits.seconds:g} s a request, {limits.rows} texts written at once, {limits.queue} "
        f"waiting, of one address half as many, {limits.models} models of each kind in memory."
    )
