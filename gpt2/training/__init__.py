"""The one training loop, for prose and for news, on one process or several.

Of the rooms it sees the model, weights and devices.
"""
