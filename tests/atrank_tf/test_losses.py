"""Losses against their definitions."""

import keras
import numpy as np
import pytest

from atrank_tf import BPRLoss, HingeLoss, PointwiseLoss

LABELS = np.array([1, 0, 0, 1, 0, 1], np.float32)
LOGITS = np.array([2.0, 1.0, -1.0, 0.5, 0.5, 30.0], np.float32)


def test_pointwise_is_sigmoid_cross_entropy() -> None:
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    expected = -np.mean(LABELS * np.log(p) + (1 - LABELS) * np.log(1 - p))
    assert float(PointwiseLoss()(LABELS, LOGITS)) == pytest.approx(expected, rel=1e-5)


def test_pointwise_stays_finite_far_out() -> None:
    assert np.isfinite(float(PointwiseLoss()(np.array([1.0, 0.0]), np.array([-1e4, 1e4]))))


def test_bpr_compares_each_positive_with_its_own_negatives() -> None:
    differences = np.array([2 - 1, 2 + 1, 0.5 - 0.5])  # The last positive has no negative.
    expected = np.mean(np.log1p(np.exp(-differences)))
    assert float(BPRLoss()(LABELS, LOGITS)) == pytest.approx(expected, rel=1e-5)


def test_hinge_asks_for_a_lead_of_one() -> None:
    expected = np.mean([0.0, 0.0, 1.0])  # Leads of 1, 3 and 0.
    assert float(HingeLoss()(LABELS, LOGITS)) == pytest.approx(expected, rel=1e-5)


def test_bpr_of_nothing_to_compare_is_zero() -> None:
    assert float(BPRLoss()(np.array([1.0]), np.array([3.0]))) == 0
    assert float(BPRLoss()(np.array([0.0]), np.array([3.0]))) == 0


@pytest.mark.parametrize("loss", [PointwiseLoss(), BPRLoss(), HingeLoss()])
def test_weights_weigh_each_candidate(loss: keras.losses.Loss) -> None:
    weights = np.array([1, 1, 1, 3, 3, 1], np.float32)  # The second positive and its negative.

    def of(part: slice) -> float:
        alone = np.zeros_like(weights)
        alone[part] = 1
        return float(loss(LABELS, LOGITS, alone))

    first, second, third = of(slice(0, 3)), of(slice(3, 5)), of(slice(5, 6))
    assert second > 0
    assert first != second
    assert first + second + third == pytest.approx(float(loss(LABELS, LOGITS)), rel=1e-5)
    weighted = float(loss(LABELS, LOGITS, weights))
    assert weighted == pytest.approx(first + 3 * second + third, rel=1e-5)


@pytest.mark.parametrize("loss", [PointwiseLoss(), BPRLoss(), HingeLoss()])
def test_losses_serialise(loss: keras.losses.Loss) -> None:
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert float(again(LABELS, LOGITS)) == float(loss(LABELS, LOGITS))
