"""AG News: a classifier of topics, from CSV rows to a model directory with its measurements.

Of the rooms it sees the model, weights and training.
"""
