"""Calibration against scikit-learn, and against probabilities that are known."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from atrank_tf.evaluate.calibration import calibration, expected_calibration_error
from atrank_tf.evaluate.ranking_metrics import Scored


def drawn(n: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels that happen with the probability of their logits."""
    random = np.random.default_rng(0)
    logit = random.normal(-1, 1.5, n)
    return (random.random(n) < 1 / (1 + np.exp(-logit))).astype(int), logit


def of(label: np.ndarray, logit: np.ndarray, labelled: bool = True) -> Scored:
    return Scored(np.zeros_like(label), np.zeros_like(label), label, logit, labelled)


def test_log_loss_is_scikit_learns() -> None:
    label, logit = drawn(500)
    result = calibration(of(label, logit), 1)
    assert result is not None
    assert result["log_loss"] == pytest.approx(log_loss(label, 1 / (1 + np.exp(-logit))))
    base = np.full(len(label), label.mean())
    assert result["log_loss_of_base_rate"] == pytest.approx(log_loss(label, base))


def test_true_probabilities_have_hardly_an_error_and_others_theirs() -> None:
    label, logit = drawn()
    result = calibration(of(label, logit), 1)
    assert result is not None
    assert result["ece"] < 0.005
    too_sure = calibration(of(label, 3 * logit), 1)
    assert too_sure is not None
    assert too_sure["ece"] > 0.05
    assert too_sure["log_loss"] > result["log_loss"]
    assert expected_calibration_error(label, np.ones(len(label))) == pytest.approx(1 - label.mean())


def test_the_expected_calibration_error_is_that_of_scikit_learns_bins() -> None:
    # Scores of their own, 100 in each bin, so that a bin's mean is one of 100 candidates.
    random = np.random.default_rng(1)
    probability = random.permutation((np.arange(1500) + 0.5) / 1500) ** 2
    label = (random.random(1500) < 0.5 * probability + 0.1).astype(int)
    frequency, mean = calibration_curve(label, probability, n_bins=15, strategy="quantile")
    expected = np.abs(frequency - mean).mean()
    assert expected > 0.1
    assert expected_calibration_error(label, probability) == pytest.approx(expected, rel=1e-2)


def test_logits_learned_of_few_negatives_are_right_among_many() -> None:
    # Positives are of class 1 in 3 cases of 4, negatives in 1 of 4: what a model learns is
    # how often candidates of a class are positive among 2 negatives of each positive.
    random = np.random.default_rng(0)

    def sample(num_negatives: int) -> tuple[np.ndarray, np.ndarray]:
        label = np.repeat([1, *[0] * num_negatives], 20_000)
        return label, (random.random(len(label)) < np.where(label, 0.75, 0.25)).astype(int)

    label, kind = sample(2)
    share = np.array([label[kind == k].mean() for k in range(2)])
    label, kind = sample(20)
    result = calibration(of(label, np.log(share / (1 - share))[kind], labelled=False), 2)
    assert result is not None
    assert result["ece"] < 0.002


def test_extreme_logits_and_nothing_to_measure() -> None:
    result = calibration(of(np.array([1, 0]), np.array([1000.0, -1000.0])), 1)
    assert result is not None
    assert result["log_loss"] == 0
    assert calibration(of(np.array([1, 1]), np.array([0.0, 1.0])), 1) is None
    assert calibration(of(np.array([], int), np.array([])), 1) is None


def test_like_probabilities_share_a_bin_in_whatever_order_they_come() -> None:
    label = np.repeat([1, 0], 500)
    assert expected_calibration_error(label, np.full(1000, 0.5)) == pytest.approx(0)
    assert expected_calibration_error(label, np.full(1000, 0.7)) == pytest.approx(0.2)
