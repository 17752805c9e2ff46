"""AG News: a classifier of topics, from CSV rows to a model directory with its measurements.

Of the rooms it sees the model, weights and training.
"""

from gpt2.agnews.news import read_agnews

__all__ = ["read_agnews"]
