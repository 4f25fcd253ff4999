"""ResNet-50 (He et al. 2015) and the classifier that looks at a bag of tiles with it.

The state dict of `ResNet50` has torchvision's keys and shapes, so weights from a `resnet50-*.pth` file fit.
"""

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from radloop.core.errors import InvalidInput

EMBEDDING: Final = 2048
_EXPANSION: Final = 4
_STAGES: Final = ((3, 64), (4, 128), (6, 256), (3, 512))


class Bottleneck(nn.Module):
    """Three convolutions and a short cut; the stride sits on the 3x3 one, as in torchvision (ResNet v1.5)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Features of the next depth, (n, 4 * width, rows / stride, columns / stride)."""
        short = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + short)


class ResNet50(nn.Module):
    """The network with torchvision's names: conv1, bn1, layer1 to layer4, fc."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs, layers = 64, []
        for depth, (blocks, width) in enumerate(_STAGES):
            stage = [Bottleneck(inputs, width, 1 if depth == 0 else 2)]
            inputs = width * _EXPANSION
            stage += [Bottleneck(inputs, width, 1) for _ in range(blocks - 1)]
            layers.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.fc = nn.Linear(EMBEDDING, classes)
        self._initialise()

    def _initialise(self) -> None:
        """Kaiming; every block starts as its short cut, which lets small data train a deep network."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (n, 2048) of images (n, 3, rows, columns)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images (n, 3, rows, columns)."""
        scores: Tensor = self.fc(self.embed(x))
        return scores


class BagClassifier(nn.Module):
    """One study, one logit: every tile through one encoder, the mean of their embeddings through one line.

    The mean is linear, so the logit of a bag is the mean of the logits of its tiles.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNet50(classes=1)

    def forward(self, bags: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (bags,) and embeddings (bags, 2048) of tiles (bags, tiles, 3, rows, columns) in 0..1."""
        count, tiles = bags.shape[:2]
        each = (bags.flatten(0, 1) - 0.5) * 4.0
        embedding = self.encoder.embed(each).reshape(count, tiles, EMBEDDING).mean(dim=1)
        return self.encoder.fc(embedding).reshape(-1), embedding


def load_pretrained(model: BagClassifier, path: Path) -> None:
    """Put weights from a torchvision ResNet-50 file into the encoder, all but the last layer.

    Raises:
        InvalidInput: The file is missing, is no state dict or is that of another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        kept = {name: value for name, value in state.items() if not name.startswith("fc.")}
        lacking = model.encoder.load_state_dict(kept, strict=False)
    except Exception as error:
        raise InvalidInput(f"{path.name} does not hold the weights of a ResNet-50") from error
    if lacking.unexpected_keys or {name for name in lacking.missing_keys if not name.startswith("fc.")}:
        raise InvalidInput(f"{path.name} does not hold the weights of a ResNet-50")
