"""The API: functions over HTTP, gradio_client and MCP, each answering with one JSON object.

The page's own handlers are not part of it.
"""

import asyncio
import inspect

import gradio as gr
import numpy as np

from gpt2.engine import Engine, Request, Sampling, check_number, seed_or_random
from gpt2.ui.api.as_json import streamed, token_json
from gpt2.ui.api.lens import LensEndpoints, whole_text
from gpt2.ui.page import MODEL_EVENTS, TEXT_EVENTS, errors_in_words


class Endpoints:
    """Each public method answers the endpoint of its name; its docstring is what callers read."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def generate(
        self,
        prompt: str,
        max_new_tokens: int = 60,
        temperature: float = 0.8,
        top_k: int = 50,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop: str = "",
    ) -> dict:
        """Continue a prompt with GPT-2. Streams updates of its new tokens; the last one is whole.

        Args:
            prompt: text to continue; empty starts from <|endoftext|>.
            max_new_tokens: most tokens to write.
            temperature: 0 = always the most likely token, 1 = the model's own distribution.
            top_k: keep only the k most likely tokens; 0 = off.
            top_p: keep the fewest tokens that hold this probability; 1 = off.
            min_p: keep tokens at least this share as likely as the best; 0 = off.
            repetition_penalty: above 1 makes tokens seen before less likely; 1 = off.
            seed: the same seed gives the same text; -1 = a random one, reported back.
            stop: end before this text; empty = off.
        """
        with errors_in_words():
            sampling = Sampling(
                repetition_penalty, temperature, top_k, top_p, min_p, seed_or_random(seed)
            )
            request = Request(prompt, max_new_tokens, sampling, stop)
            begun = await asyncio.to_thread(self.engine.writer.begin, request)
            with self.engine.writer.start(request, begun) as text:
                async for update in streamed(self.engine, begun, text):
                    yield update

    async def branch(
        self,
        prompt: str,
        ids: list,
        position: int,
        token: int,
        max_new_tokens: int = 60,
        temperature: float = 0.8,
        top_k: int = 50,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop: str = "",
    ) -> dict:
        """Write a completion again with another token at one place. Streams as generate does.

        Args:
            prompt: as it was for generate, and so all settings below.
            ids: the text so far: prompt_ids and the id of each token that generate gave.
            position: place in ids of the token to replace, one of those that generate gave.
            token: the id to put there.
            max_new_tokens: most tokens of the completion, kept ones too.
            temperature: as of generate.
            top_k: as of generate.
            top_p: as of generate.
            min_p: as of generate.
            repetition_penalty: as of generate.
            seed: the same one writes the same text where nothing was changed.
            stop: as of generate.
        """
        with errors_in_words():
            sampling = Sampling(
                repetition_penalty, temperature, top_k, top_p, min_p, seed_or_random(seed)
            )
            request = Request(prompt, max_new_tokens, sampling, stop)
            if not isinstance(ids, list):
                raise ValueError("ids must be a list of token ids, as generate gives them")
            writer = self.engine.writer
            begun = await asyncio.to_thread(writer.begin, request)
            forced = writer.forced(request, begun, ids, position, token)
            with writer.start(request, begun, forced=forced) as text:
                async for update in streamed(self.engine, begun, text):
                    yield update

    @errors_in_words()
    def score(self, text: str) -> dict:
        """How likely GPT-2 finds a text, token by token, after <|endoftext|>.

        Args:
            text: the text to score; of a long one as many tokens as the context holds are read,
                and truncated tells how many are not.
        """
        found = self.engine.inspector.score(text)
        columns = zip(found.ids, found.logprobs, found.ranks, found.entropies, strict=True)
        return {
            "model": found.model,
            "nll": found.nll,
            "perplexity": found.perplexity,
            "truncated": found.truncated,
            "tokens": [
                {
                    **token_json(self.engine, found.model, token),
                    "logprob": float(logprob),
                    "rank": int(rank),
                    "entropy": float(entropy),
                }
                for token, logprob, rank, entropy in columns
            ],
        }

    @errors_in_words()
    def attention(self, text: str, layer: int = 0, head: int = 0) -> dict:
        """How much each token of a text attends to each token before it.

        Args:
            text: the text to read.
            layer: counted from 0.
            head: counted from 0; -1 = the mean over all heads.
        """
        name = self.engine.catalog.models[0]
        config = self.engine.catalog.config(name)
        layer = _whole("layer", layer, 0, config.n_layer - 1)
        head = _whole("head", head, -1, config.n_head - 1)
        _, ids = whole_text(self.engine, text)
        maps = self.engine.inspector.attention(ids, layer, model=name)
        weights = maps.mean(axis=0) if head < 0 else maps[head]
        return {
            "model": name,
            "pieces": self.engine.catalog.pieces(ids, model=name),
            "weights": np.round(weights.astype(float), 6).tolist(),
        }

    @errors_in_words()
    def classify(self, text: str) -> dict:
        """The topic of a news text: World, Sports, Business or Sci/Tech.

        Args:
            text: a headline or an article.
        """
        verdict = self.engine.inspector.classify(text)
        probs = dict(zip(verdict.labels, verdict.probs.astype(float).tolist(), strict=True))
        return {
            "model": verdict.model,
            "label": verdict.label,
            "probs": probs,
            "truncated": verdict.truncated,
            "pieces": self.engine.catalog.pieces(verdict.ids, model=verdict.model),
            "per_token": verdict.per_token.astype(float).tolist(),
        }

    @errors_in_words()
    def models(self) -> dict:
        """The models that can be asked for, and the device they run on."""
        return self.engine.describe()


def build_api(engine: Engine) -> None:
    """Add the endpoints to the Blocks being built."""
    for group in (Endpoints(engine), LensEndpoints(engine)):
        for name in (name for name in vars(type(group)) if not name.startswith("_")):
            endpoint = getattr(group, name)
            writes = inspect.isasyncgenfunction(endpoint)
            events = TEXT_EVENTS if writes else MODEL_EVENTS
            gr.api(endpoint, api_name=name, **events)


def _whole(name: str, value: object, low: int, high: int) -> int:
    return int(check_number(name, value, low, high, whole=True))
