"""Requests in, records out: what the page and the API ask, and anyone in Python.

Of the rooms it sees the model, devices, fast, lens, weights and conversion's receipts.
"""

from gpt2.checks import check_number, check_text
from gpt2.engine.engine import Engine
from gpt2.engine.request import Limits, Request, seed_or_random
from gpt2.engine.scheduler import Closed
from gpt2.engine.stream import Stream
from gpt2.lens import Scales
from gpt2.sampling import SEED_LIMIT, Sampling

__all__ = [  # all that the page needs
    "SEED_LIMIT",
    "Closed",
    "Engine",
    "Limits",
    "Request",
    "Sampling",
    "Scales",
    "Stream",
    "check_number",
    "check_text",
    "seed_or_random",
]
