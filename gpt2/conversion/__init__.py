"""Checkpoints of other formats, in and out, each conversion with a receipt.

Of the rooms it sees the model, weights and devices.
"""
