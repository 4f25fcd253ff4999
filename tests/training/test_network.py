"""The network: torchvision's names, one logit a bag."""

from pathlib import Path

import pytest
import torch
from torch import nn

from radloop.core.errors import InvalidInput
from radloop.training.folder import sha256_of
from radloop.training.network import BagClassifier, ResNet50, load_pretrained, weights_sha256


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
    load_pretrained(model, tmp_path / "resnet50.pth", sha256_of(tmp_path / "resnet50.pth").upper())
    assert torch.equal(model.encoder.layer4[2].conv3.weight, other.layer4[2].conv3.weight)
    assert torch.equal(model.encoder.fc.weight, last)


@pytest.mark.parametrize("state", [{"conv1.weight": torch.zeros(64, 3, 7, 7)}, {"other": torch.zeros(1)}, "nothing"])
def test_weights_of_another_network_are_refused(state: object, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(InvalidInput, match="does not hold the weights of a ResNet-50"):
        load_pretrained(BagClassifier(), tmp_path / "wrong.pth", sha256_of(tmp_path / "wrong.pth"))


def test_weights_with_another_hash_are_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    torch.save(ResNet50().state_dict(), tmp_path / "resnet50.pth")
    model = BagClassifier()
    before = weights_sha256(model.state_dict())
    with pytest.raises(InvalidInput, match="not the one that pretrained_sha256 asks for"):
        load_pretrained(model, tmp_path / "resnet50.pth", "0" * 64)
    with pytest.raises(InvalidInput, match="not in the weights channel"):
        load_pretrained(model, tmp_path / "absent.pth", "0" * 64)
    assert weights_sha256(model.state_dict()) == before


def trained_looking(pooling: str) -> BagClassifier:
    """A network whose every part says something: fresh ones pass by their blocks and attend to all alike."""
    torch.manual_seed(3)
    model = BagClassifier(pooling).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bn3.weight"):
                weight.fill_(0.5)
            if name.startswith("pooling."):
                weight.normal_(std=0.3)
    return model


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_the_saliency_is_grad_cam_by_the_true_gradient(pooling: str) -> None:
    model = trained_looking(pooling)
    bags = torch.rand(2, 3, 3, 96, 96)
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, seen: torch.Tensor) -> None:
        seen.retain_grad()
        kept.append(seen)

    handle = model.encoder.layer4.register_forward_hook(keep)
    if pooling == "attention":  # taken as a constant: what remains of the gradient is that through the embeddings
        inner = model.pooling.register_forward_hook(lambda _module, _inputs, weights: weights.detach())
    logits, _ = model(bags)
    logits.sum().backward()  # every bag's logit rests on its own tiles alone
    handle.remove()
    if pooling == "attention":
        inner.remove()
    (seen,) = kept
    assert seen.grad is not None
    channels = seen.grad.mean(dim=(2, 3), keepdim=True)
    expected = torch.relu((channels * seen.detach()).sum(dim=1)).reshape(2, 3, 3, 3)
    with torch.inference_mode():
        _, _, attention, saliency = model.explain(bags)
    assert float(expected.max()) > 0
    assert torch.allclose(saliency, expected, atol=1e-6 * float(expected.max()) + 1e-9)
    assert torch.allclose(attention.sum(dim=1), torch.ones(2))
    assert (float(attention.std()) > 1e-4) == (pooling == "attention")


def test_attention_begins_as_the_mean_and_follows_the_tiles_whatever_their_order() -> None:
    torch.manual_seed(1)
    fresh, plain = BagClassifier("attention").eval(), BagClassifier("mean").eval()
    plain.encoder.load_state_dict(fresh.encoder.state_dict())
    bags = torch.rand(1, 4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(fresh(bags)[0], plain(bags)[0], atol=1e-5)
        model = trained_looking("attention")
        _, _, attention, saliency = model.explain(bags)
        _, _, turned, places = model.explain(bags.flip(1))
    assert torch.allclose(attention, turned.flip(1), atol=1e-5)
    assert torch.allclose(saliency, places.flip(1), atol=1e-5)
