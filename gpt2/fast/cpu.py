"""A GPT-2 that writes faster on a CPU: matrices laid out for the product with one vector.

A step of writing multiplies every matrix with one token's vector, and takes as long as reading the
matrices takes. MKL, torch's library for it, does that with one core, and up to twice as slowly
where the rows of a matrix lie together. So here the columns do, as in OpenAI's files, and each core
reads its share of them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt2.model import GPT2

LEAST_COLUMNS = 16  # for each core; with fewer, adding up the cores' results costs too much


class CPUModel(GPT2):
    """A model with another one's parameters, which it takes over and lays out anew."""

    def __init__(self, model: GPT2) -> None:
        nn.Module.__init__(self)  # the parameters are there already
        self.config, self.drop = model.config, model.drop
        self.wte, self.wpe, self.h, self.ln_f = model.wte, model.wpe, model.h, model.ln_f
        for module in list(self.h.modules()):
            for name, child in module.named_children():
                if type(child) is nn.Linear:
                    setattr(module, name, SharedLinear(child))
        self.wte.weight.data, self._head = _lay_out(self.wte.weight.data)
        self.train(model.training)

    def logits(self, hidden: Tensor) -> Tensor:
        return _product(hidden, self.wte.weight, self._head)


class SharedLinear(nn.Linear):
    """A linear layer whose product with one vector is shared among the cores."""

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.weight.data, self._shares = _lay_out(self.weight.data)

    def forward(self, x: Tensor) -> Tensor:
        return _product(x, self.weight, self._shares, self.bias)


def _lay_out(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The same matrix [out, in] with its columns together, and a view of each core's share.

    Returns:
        [out, in], and [P, in / P, out] where each of P cores has as many columns.
    """
    columns = weight.t().contiguous()
    count = len(columns)
    most = max(1, min(torch.get_num_threads(), count // LEAST_COLUMNS))
    cores = max(n for n in range(1, most + 1) if count % n == 0)
    return columns.t(), columns.view(cores, count // cores, -1)


def _product(x: Tensor, weight: Tensor, shares: Tensor, bias: Tensor | None = None) -> Tensor:
    """x times the weight, transposed, plus the bias: [..., in] to [..., out]."""
    cores, width, out = shares.shape
    if x.numel() != cores * width or cores == 1:  # more than one vector
        return F.linear(x, weight, bias)
    y = torch.bmm(x.reshape(cores, 1, width), shares).sum(dim=0)  # [1,out]
    return (y if bias is None else y + bias).view(*x.shape[:-1], out)
