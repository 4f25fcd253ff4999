"""How the embeddings of a study's tiles become one: what each tile counts.

    mean        every tile the same; nothing to learn, and the logit of a study is the mean of those of its tiles
    attention   gated attention (Ilse, Tomczak, Welling 2018, equation 9): learned from the tiles themselves

Attention says which tile weighed most. It does not say where a finding is.
"""

from typing import Final

import torch
from torch import Tensor, nn

_HIDDEN: Final = 128


class MeanPooling(nn.Module):
    """Every tile counts the same."""

    def forward(self, embeddings: Tensor) -> Tensor:
        """Weights (bags, tiles), 1 / tiles each, of embeddings (bags, tiles, width)."""
        return torch.softmax(torch.zeros_like(embeddings[..., 0]), dim=1)


class GatedAttention(nn.Module):
    """Softmax over the tiles of a line through tanh(V e) * sigmoid(U e).

    The line starts at zero, so that training begins with the mean.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, _HIDDEN)
        self.gate = nn.Linear(width, _HIDDEN)
        self.weight = nn.Linear(_HIDDEN, 1, bias=False)
        nn.init.zeros_(self.weight.weight)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Weights (bags, tiles), each bag's adding up to 1, of embeddings (bags, tiles, width)."""
        gated = torch.tanh(self.value(embeddings)) * torch.sigmoid(self.gate(embeddings))
        return torch.softmax(self.weight(gated).squeeze(-1), dim=1)


def pooling_named(name: str, width: int) -> nn.Module:
    """`mean` or `attention` for embeddings of `width` numbers."""
    return GatedAttention(width) if name == "attention" else MeanPooling()
