"""GPT-2, written from scratch in PyTorch.

The package imports nothing by itself, so `import gpt2.figures` does not pull in torch. Read it in
this order: config, model, cache, sampling, generate, classifier; then weights and tokenizer; then
data, losses, training; then engine, figures and ui, which make the web page.
"""

__version__ = "0.1.0"
