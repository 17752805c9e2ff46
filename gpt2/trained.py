"""Which parameters of a classifier a fine-tuning trains. Imports: torch."""

from torch import nn

from gpt2.classifier import GPT2Classifier
from gpt2.lora import add_lora

TRAIN_MODES = ("head", "last-block", "last-two", "lora", "full")


def choose_parameters(model: GPT2Classifier, train: str) -> None:
    """Freeze all but what `train` names; the head is always trained."""
    backbone = model.transformer
    backbone.requires_grad_(train == "full")
    if train in ("last-block", "last-two"):
        for block in backbone.h[-1 if train == "last-block" else -2 :]:
            block.requires_grad_(True)
        backbone.ln_f.requires_grad_(True)
    if train == "lora":
        add_lora(backbone)


def set_dropout(model: nn.Module, probability: float) -> None:
    """Set every dropout of a model."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
