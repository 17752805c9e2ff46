"""GPT-2, written from scratch in PyTorch. Read it in this order; a line is a room.

config, model, cache, tokenizer, sampling, prediction, generate, classifier: the model
records: what leaves torch; checks, flags, command, text_files: what everyone needs; devices
fast: the same numbers sooner
lens: what went on inside while it read
weights, conversion: model directories; checkpoints of other programs
training, agnews: the one loop; the classifier of news
engine: requests in, records out
figures, ui: pictures and the web page, neither of which knows torch

The package imports nothing by itself, so `import gpt2.figures` does not pull in torch.
"""

__version__ = "0.1.0"
