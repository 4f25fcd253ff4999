"""The loss: doubted labels, weights, and classes that weigh the same."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from radloop.core.errors import InvalidInput
from radloop.training.loss import Balance, Floats, balanced_losses


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


def loss_of(logits: Floats, targets: Floats, weights: Floats) -> float:
    balance = Balance.of(targets, weights)
    return float(balanced_losses(torch.from_numpy(logits), targets, weights, balance).mean())


def test_both_classes_weigh_the_same_however_rare_one_is() -> None:
    labels, ones = floats(1, 0, 0, 0), np.ones(4, np.float32)
    wrong_positive = loss_of(np.full(4, -5, np.float32), labels, ones)
    wrong_negatives = loss_of(np.full(4, 5, np.float32), labels, ones)
    assert wrong_positive == pytest.approx(wrong_negatives)


def test_with_equal_classes_and_sure_labels_it_is_plain_cross_entropy() -> None:
    logits, labels = floats(0.3, -2, 1.5, 4), floats(1, 0, 0, 1)
    plain = binary_cross_entropy_with_logits(torch.from_numpy(logits), torch.from_numpy(labels))
    assert loss_of(logits, labels, np.ones(4, np.float32)) == pytest.approx(float(plain))


def test_a_doubted_label_is_the_same_as_two_image_sets_that_share_its_weight() -> None:
    logit, others = 0.7, (floats(2, -1), floats(1, 0))
    doubted = loss_of(floats(logit, *others[0]), floats(0.8, *others[1]), floats(1, 1, 1))
    torn = loss_of(floats(logit, logit, *others[0]), floats(1, 0, *others[1]), floats(0.8, 0.2, 1, 1))
    assert doubted == pytest.approx(torn, rel=1e-5)


def test_weights_count_by_their_ratio_and_nothing_of_weight_zero_counts() -> None:
    logits, targets = floats(1, -1, 2, 9), floats(1, 0, 0, 1)
    once = loss_of(logits, targets, floats(1, 2, 1, 0))
    assert loss_of(logits, targets, floats(5, 10, 5, 0)) == pytest.approx(once)
    assert loss_of(floats(1, -1, 2, -9), targets, floats(1, 2, 1, 0)) == pytest.approx(once)


def test_the_least_loss_lies_at_the_posterior() -> None:
    targets, weights = floats(0.5, 0.9, 0.1), np.ones(3, np.float32)
    logit = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([logit], lr=2.0)
    balance = Balance.of(targets, weights)
    for _ in range(400):
        optimizer.zero_grad()
        balanced_losses(logit, targets, weights, balance).sum().backward()
        optimizer.step()
    assert torch.sigmoid(logit).detach().numpy() == pytest.approx(targets, abs=1e-3)


def test_a_part_without_one_of_the_classes_by_weight_is_refused() -> None:
    for targets, weights in ((floats(1, 1), floats(1, 1)), (floats(1, 0), floats(1, 0)), (floats(), floats())):
        with pytest.raises(InvalidInput, match="both classes"):
            Balance.of(targets, weights)
