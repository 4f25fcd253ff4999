"""The network: torchvision's names, one logit a bag."""

from pathlib import Path

import pytest
import torch

from radloop.core.errors import InvalidInput
from radloop.training.network import BagClassifier, ResNet50, load_pretrained


def test_the_state_dict_is_torchvisions_resnet_50() -> None:
    state = ResNet50().state_dict()
    assert len(state) == 320
    assert sum(p.numel() for p in ResNet50().parameters()) == 25_557_032  # as torchvision documents it
    assert list(state)[:6] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.num_batches_tracked",
    ]
    shapes = {
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer3.5.bn3.running_var": (1024,),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
        "layer4.0.downsample.1.bias": (2048,),
        "fc.weight": (1000, 2048),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert "layer1.1.downsample.0.weight" not in state


def test_the_stride_is_32_and_sits_on_the_middle_convolution() -> None:
    network = ResNet50().eval()
    assert network.layer2[0].conv1.stride == (1, 1)
    assert network.layer2[0].conv2.stride == (2, 2)
    with torch.inference_mode():
        x = network.maxpool(network.relu(network.bn1(network.conv1(torch.zeros(1, 3, 64, 64)))))
        assert network.layer4(network.layer3(network.layer2(network.layer1(x)))).shape == (1, 2048, 2, 2)
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 1000)


def test_a_bags_logit_is_the_mean_of_its_tiles_in_any_order() -> None:
    torch.manual_seed(1)
    model = BagClassifier().eval()
    bag = torch.rand(1, 4, 3, 32, 32)
    with torch.inference_mode():
        logit, embedding = model(bag)
        each, _ = model(bag[0][:, None])
        turned, _ = model(bag[:, [2, 0, 3, 1]])
    assert embedding.shape == (1, 2048)
    assert float(logit) == pytest.approx(float(each.mean()), abs=1e-5)
    assert float(turned) == pytest.approx(float(logit), abs=1e-5)


def test_weights_of_another_file_fill_the_encoder_but_not_its_last_layer(tmp_path: Path) -> None:
    torch.manual_seed(2)
    other = ResNet50()
    torch.save(other.state_dict(), tmp_path / "resnet50.pth")
    model = BagClassifier()
    last = model.encoder.fc.weight.clone()
    load_pretrained(model, tmp_path / "resnet50.pth")
    assert torch.equal(model.encoder.layer4[2].conv3.weight, other.layer4[2].conv3.weight)
    assert torch.equal(model.encoder.fc.weight, last)


@pytest.mark.parametrize("state", [{"conv1.weight": torch.zeros(64, 3, 7, 7)}, {"other": torch.zeros(1)}, "nothing"])
def test_weights_of_another_network_are_refused(state: object, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(InvalidInput, match="does not hold the weights of a ResNet-50"):
        load_pretrained(BagClassifier(), tmp_path / "wrong.pth")
