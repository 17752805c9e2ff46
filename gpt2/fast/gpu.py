"""What writes on an NVIDIA GPU: all texts in one step, and a step is one CUDA graph.

A step of a small model is some 150 kernels of a few microseconds each; started one by one from
Python they take longer to start than to run. A graph is captured once and starts them all at once,
always on the same memory: so there are buffers for what a step reads and gives, and slots for the
keys and values. Sources: NVIDIA's and PyTorch's notes on CUDA graphs; gpt-fast, for a cache of a
fixed shape; vLLM, for graphs of a few sizes that share one pool of memory.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpt2.cache import KVCache
from gpt2.fast import batch_sampling
from gpt2.fast.decoder import Draw, Feed
from gpt2.fast.native_model import GPT2_PARTS, TORCH_PARTS
from gpt2.fast.slots import Slots
from gpt2.model import GPT2, Block
from gpt2.records import Step

ROWS = 64  # texts in one step
LEAST_LENGTH = 128  # attention reads so many positions, or twice, four times ... as many
SHARE = 0.25  # of the GPU's free memory, for slots
ALIGNED = 64  # numbers in a row of logits, or a multiple
# Both take a mask; flash attention does not, and which of the others is there depends on the card.
BACKENDS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def rows_that_fit(model: GPT2) -> int:
    """How many texts a GraphDecoder may have in one step: ROWS, or fewer on a small GPU."""
    free, _ = torch.cuda.mem_get_info(model.device)
    rows, slot = ROWS, Slots.nbytes_of_one(model.config, model.dtype)
    while rows > 1 and rows * slot > SHARE * free:
        rows //= 2
    return rows


def bucket(count: int, *, least: int, most: int) -> int:
    """The smallest of least, 2 least, 4 least ... and most that is not below count."""
    size = least
    while size < count:
        size *= 2
    return min(size, most)


class GraphDecoder:
    """A model whose steps are captured CUDA graphs; on a CPU the same steps run as they are.

    Its memory, for 64 rows of 124M in bfloat16: slots of n_ctx + 1 positions for as many texts, 2.4
    GB; the logits, 13 MB; what choosing needs in between, some 200 MB, once for all graphs. A text
    that is not being written is in no slot, or leaves it when another needs it.

    What a text's numbers depend on: matrices are multiplied for `rows` rows whatever the number of
    texts, attention and sampling row by row, and masked positions count exactly 0. So they do not
    depend on the texts beside it, as far as cuBLAS gives a row the same sum wherever in a product
    of one shape it stands. They do depend on `rows`, which is fixed, and a text read at once and
    one read token by token differ in rounding (in_parts is False).

    Args:
        model: in evaluation mode; what is captured are its parameters' places, not their values.
        rows: texts in one step, a power of two; more are read in turns, at the cost of moving some
            between slots. None for as many as rows_that_fit.
    """

    in_parts = False

    def __init__(self, model: GPT2, *, rows: int | None = None) -> None:
        config, device = model.config, model.device
        rows = rows or rows_that_fit(model)
        self.model, self.rows = model, rows
        self._vocab_size, self._n_ctx = config.vocab_size, config.n_ctx
        self._slots = Slots(config, rows, device=device, dtype=model.dtype)
        self._graphs = Graphs(device)
        zeros = partial(torch.zeros, device=device)
        self._row_ids = torch.arange(rows, device=device)
        # Of each slot: the token, its position, where its key goes. And whose logits are wanted.
        self._inputs = zeros((4, rows), dtype=torch.long)
        self._attended = zeros((rows, 1, config.n_head, config.head_dim), dtype=model.dtype)
        self._hidden = zeros((rows, config.n_embd), dtype=model.dtype)
        # Rows of a round length: where a row begins decides in which order it is added up.
        width = -(-self._vocab_size // ALIGNED) * ALIGNED
        self._logits = torch.full((rows, width), float("-inf"), device=device)
        self._settings = zeros((rows, batch_sampling.SETTINGS), dtype=torch.float64)
        self._seen = zeros((rows, self._n_ctx), dtype=torch.long)
        count = batch_sampling.numbers_in_row(self._vocab_size)
        self._numbers = zeros((rows, count))

    @staticmethod
    def fits(model: GPT2) -> bool:
        """Whether it is worth a decoder's memory and captures: on a GPU, and no view of another.

        A view of a model with parts turned down writes one text, and is gone.
        """
        parts = all(type(part) in (*GPT2_PARTS, *TORCH_PARTS) for part in model.modules())
        return parts and model.device.type == "cuda"

    def cache(self, capacity: int) -> KVCache:
        model = self.model
        return KVCache(model.config, capacity, device=model.device, dtype=model.dtype)

    # --- reading --------------------------------------------------------------------------------

    @torch.inference_mode()
    def read(self, feeds: Sequence[Feed]) -> Tensor:
        logits = self._logits[:, : self._vocab_size]
        return self._after(feeds, logits, lambda hidden: self.model.logits(hidden).float())

    @torch.inference_mode()
    def hidden(self, feeds: Sequence[Feed]) -> Tensor:
        return self._after(feeds, self._hidden, lambda hidden: hidden)

    def _after(
        self, feeds: Sequence[Feed], of_slots: Tensor, of_hidden: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Read, and give what is wanted after some of the tokens.

        Args:
            of_slots: where a step leaves that, slot by slot.
            of_hidden: makes it of the final norm's output, [n, C].
        """
        for feed in feeds:
            feed.cache.check_room(len(feed.ids))
        single = [feed for feed in feeds if len(feed.ids) == 1]
        stepped = (
            row
            for start in range(0, len(single), self.rows)
            for row in of_slots[self._step(single[start : start + self.rows])].split(1)
        )
        found = [
            next(stepped)[: feed.wanted] if len(feed.ids) == 1 else of_hidden(self._prefill(feed))
            for feed in feeds
        ]
        return torch.cat(found)

    def _prefill(self, feed: Feed) -> Tensor:
        """Read several tokens into an empty cache; the final norm's output, [wanted, C]."""
        ids = torch.tensor([list(feed.ids)], device=self.model.device)
        return self.model.hidden(ids, feed.cache)[0, len(feed.ids) - feed.wanted :]

    def _step(self, feeds: Sequence[Feed]) -> Tensor:
        """Read one token of each text; the slots they are in, [n]."""
        caches = [feed.cache for feed in feeds]
        slots = self._slots.seat(caches, bucket(len(feeds), least=1, most=self.rows))
        inputs = np.zeros((4, self.rows), dtype=np.int64)
        inputs[2] = self._n_ctx  # no text's: past what attention reads
        inputs[0, slots] = [feed.ids[0] for feed in feeds]
        inputs[1:3, slots] = [cache.length for cache in caches]
        inputs[3, : len(slots)] = slots
        self._inputs.copy_(torch.from_numpy(inputs), non_blocking=True)
        rows = bucket(max(slots) + 1, least=1, most=self.rows)
        longest = max(cache.length for cache in caches) + 1
        length = bucket(longest, least=LEAST_LENGTH, most=self._n_ctx)
        self._graphs.run(("read", rows, length), partial(self._forward, rows, length))
        for cache in caches:
            cache.advance(1)
        return self._inputs[3, : len(slots)]

    @sdpa_kernel(BACKENDS)
    def _forward(self, rows: int, length: int) -> None:
        """From _inputs to _hidden and _logits, for the first slots.

        Args:
            rows: how many slots.
            length: positions that attention reads, masked beyond each text's own.
        """
        tokens, positions, places, _ = self._inputs
        x = (self.model.wte(tokens) + self.model.wpe(positions))[:, None]  # [all rows,1,C]
        unread = torch.arange(length, device=x.device) > positions[:rows, None]
        mask = x.new_zeros(unread.shape).masked_fill(unread, float("-inf"))[:, None, None]
        own = self._row_ids[:rows]
        for layer, block in enumerate(cast(Iterable[Block], self.model.h)):
            q, k, v = block.attn.qkv(block.ln_1(x))  # each [all rows,H,1,D]
            keys, values = self._slots.keys[layer, :rows], self._slots.values[layer, :rows]
            keys[own, :, places[:rows]] = k[:rows, :, 0]
            values[own, :, places[:rows]] = v[:rows, :, 0]
            y = F.scaled_dot_product_attention(
                q[:rows], keys[:, :, :length], values[:, :, :length], attn_mask=mask
            )
            self._attended[:rows] = y.transpose(1, 2)
            x = block.finish(x, block.attn.mix(self._attended.transpose(1, 2)))
        self._hidden[:] = self.model.ln_f(x)[:, 0]
        self._logits[:rows, : self._vocab_size] = self.model.logits(self._hidden)[:rows]

    # --- choosing -------------------------------------------------------------------------------

    @torch.inference_mode()
    def choose(self, logits: Tensor, draws: Sequence[Draw]) -> list[Step]:
        steps: list[Step] = []
        for start in range(0, len(draws), self.rows):
            part = slice(start, start + self.rows)
            steps += batch_sampling.steps_of(self._choose(logits[part], draws[part]))
        return steps

    def _choose(self, logits: Tensor, draws: Sequence[Draw]) -> list[list[float]]:
        """The numbers of batch_sampling for at most self.rows rows."""
        count = len(draws)
        settings = batch_sampling.settings_of(draws, self._vocab_size)
        settings = np.resize(settings, self._settings.shape)  # over again in the rows left over
        self._settings.copy_(torch.from_numpy(settings), non_blocking=True)
        self._logits[:count, : self._vocab_size] = logits
        penalized = any(draw.sampling.repetition_penalty != 1 for draw in draws)
        if penalized:
            seen = batch_sampling.seen_of(draws, self._n_ctx, self._vocab_size)
            self._seen[:count].copy_(torch.from_numpy(seen), non_blocking=True)
        rows = bucket(count, least=1, most=self.rows)
        numbers: list[list[float]] = []
        for width in (batch_sampling.width_of(draws, self._vocab_size), self._vocab_size):
            work = partial(self._sample, rows, width, penalized)
            if width < self._vocab_size:
                self._graphs.run(("choose", rows, width, penalized), work)
            else:
                work()  # sorting so much can't be captured
            numbers = self._numbers[:count].tolist()  # the one wait of a step
            if not batch_sampling.short_rows(numbers):
                break
        return numbers

    def _sample(self, rows: int, width: int, penalized: bool) -> None:
        """From _logits, _settings and _seen to _numbers."""
        seen = self._seen[:rows] if penalized else None
        self._numbers[:rows] = batch_sampling.choose_rows(
            self._logits[:rows],
            self._settings[:rows],
            seen,
            vocab_size=self._vocab_size,
            width=width,
        )


class Graphs:
    """Work that is captured when it is first run, and replayed from then on.

    All captures share one pool of memory. That is safe in any order, as nothing in the pool
    outlives a replay: work reads and writes buffers that were allocated before.
    """

    def __init__(self, device: torch.device) -> None:
        self._graphs: dict[tuple[object, ...], torch.cuda.CUDAGraph] = {}
        self._captures = device.type == "cuda"
        if self._captures:
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream(device)

    def run(self, key: tuple[object, ...], work: Callable[[], None]) -> None:
        """Do the work.

        Args:
            key: of all that decides which kernels run on which addresses.
            work: may be done twice over, and never waits for the GPU.
        """
        if not self._captures:
            work()
            return
        if key not in self._graphs:
            self._graphs[key] = self._capture(work)
        self._graphs[key].replay()

    def _capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """The work as a graph, after a run that makes what the libraries make at their first."""
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            work()
        # Else the graph would use the workspace that cuBLAS has for this stream, which is given
        # back when any other graph captured on it goes (PyTorch issue 193402); now it makes one of
        # the graph's own memory. Inductor does the same.
        torch._C._cuda_clearCublasWorkspaces()
        graph = torch.cuda.CUDAGraph()
        # Another thread may allocate memory meanwhile: a picture's, a load's.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            work()
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)
        return graph
