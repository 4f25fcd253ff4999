"""ResNet-50 (He et al. 2015) and the classifier that looks at a bag of tiles with it.

The state dict of `ResNet50` has torchvision's keys and shapes, so weights from a `resnet50-*.pth` file fit.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from radloop.core.errors import InvalidInput
from radloop.training.folder import sha256_of
from radloop.training.pooling import pooling_named

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

    def features(self, x: Tensor) -> Tensor:
        """What layer4 sees (n, 2048, rows / 32, columns / 32) in images (n, 3, rows, columns)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        seen: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return seen

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (n, 2048) of images (n, 3, rows, columns)."""
        return self.features(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images (n, 3, rows, columns)."""
        scores: Tensor = self.fc(self.embed(x))
        return scores


class BagClassifier(nn.Module):
    """One study, one logit: every tile through one encoder, their embeddings pooled, through one line.

    Args:
        pooling: `mean` or `attention`; see `radloop.training.pooling`.
    """

    def __init__(self, pooling: str = "mean") -> None:
        super().__init__()
        self.encoder = ResNet50(classes=1)
        self.pooling = pooling_named(pooling, EMBEDDING)

    def forward(self, bags: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (bags,) and embeddings (bags, 2048) of tiles (bags, tiles, 3, rows, columns) in 0..1."""
        logits, embedding, _ = self.judge(self.embed(bags))
        return logits, embedding

    def embed(self, bags: Tensor) -> Tensor:
        """Embeddings (bags, tiles, 2048) of tiles (bags, tiles, 3, rows, columns) in 0..1."""
        return self.encoder.embed(_centred(bags)).reshape(bags.shape[0], bags.shape[1], EMBEDDING)

    def judge(self, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (bags,), embeddings (bags, 2048) and attention (bags, tiles) from embeddings (bags, tiles, 2048)."""
        attention: Tensor = self.pooling(embeddings)
        embedding = (attention.unsqueeze(-1) * embeddings).sum(dim=1)
        return self.encoder.fc(embedding).reshape(-1), embedding, attention

    def explain(self, bags: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `judge` gives of tiles (bags, tiles, 3, rows, columns) in 0..1, and where it comes from.

        Returns:
            Logits (bags,), embeddings (bags, 2048), attention (bags, tiles) and saliency (bags, tiles, h, w): the
            positive part of Grad-CAM (Selvaraju et al. 2017) of the logit on layer4, not scaled. Between layer4 and
            the logit lie a mean and a line, so its gradient needs no backward pass: it is the line's weight times the
            tile's attention, over h * w. The attention is taken as a constant.
        """
        seen = self.encoder.features(_centred(bags))
        embeddings = seen.mean(dim=(2, 3)).reshape(bags.shape[0], bags.shape[1], EMBEDDING)
        logits, embedding, attention = self.judge(embeddings)
        rows, columns = seen.shape[2:]
        towards = conv2d(seen, self.encoder.fc.weight.reshape(1, EMBEDDING, 1, 1)) / (rows * columns)
        places = torch.relu(towards).reshape(bags.shape[0], bags.shape[1], rows, columns)
        return logits, embedding, attention, places * attention.unsqueeze(-1).unsqueeze(-1)


def _centred(bags: Tensor) -> Tensor:
    """All tiles one behind the other, about as far from zero as the images of ImageNet are."""
    return (bags.flatten(0, 1) - 0.5) * 4.0


def load_pretrained(model: BagClassifier, path: Path, sha256: str) -> None:
    """Put weights from a torchvision ResNet-50 file into the encoder, all but the last layer.

    Args:
        model: To be filled.
        path: Of the file. Nothing is ever fetched.
        sha256: Of the file, hexadecimal: which weights a model starts from is part of what it is.

    Raises:
        InvalidInput: The file is missing, has another SHA-256, is no state dict or is that of another network.
    """
    if not path.is_file():
        raise InvalidInput("the file that hyperparameter pretrained names is not in the weights channel")
    found = sha256_of(path)
    if found != sha256.lower():
        raise InvalidInput(f"{path.name} has the SHA-256 {found}, not the one that pretrained_sha256 asks for")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        kept = {name: value for name, value in state.items() if not name.startswith("fc.")}
        lacking = model.encoder.load_state_dict(kept, strict=False)
    except Exception as error:
        raise InvalidInput(f"{path.name} does not hold the weights of a ResNet-50") from error
    if lacking.unexpected_keys or {name for name in lacking.missing_keys if not name.startswith("fc.")}:
        raise InvalidInput(f"{path.name} does not hold the weights of a ResNet-50")


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """One hash of a state dict: of every tensor's name, shape, type and bytes, whatever file they stand in."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        values = value.detach().cpu().contiguous().numpy()
        digest.update(f"{name}{values.shape}{values.dtype}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
