"""From arrays of tiles to what the network takes."""

import torch
from torch import nn

from radloop.dicom.tiles import Bag


def tensor_of(tiles: Bag, network: nn.Module) -> torch.Tensor:
    """Tiles (bags, tiles, 3, size, size) where the network is, in its precision, each tile laid out channels last."""
    weight = next(network.parameters())
    bags, count = tiles.shape[:2]
    flat = torch.from_numpy(tiles).flatten(0, 1).to(weight.device, weight.dtype, memory_format=torch.channels_last)
    return flat.view(bags, count, *flat.shape[1:])
