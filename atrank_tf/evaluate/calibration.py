"""Whether a point-wise model's probabilities are those with which things happen."""

import numpy as np

from atrank_tf.evaluate.ranking_metrics import Scored

_NUM_BINS = 15


def calibration(scored: Scored, num_negatives: int) -> dict[str, float] | None:
    """Measures the probabilities of all candidates.

    Where negatives are sampled, a logit is the log-odds among candidates of which training
    saw `num_negatives` for each positive. Evaluation has more of them, which multiplies the
    odds by a number that is known: the logits are moved by its logarithm.

    Args:
        scored: Candidates of one target, scored by a model of `PointwiseLoss`.
        num_negatives: Negatives of each positive in training; not read where candidates
            were logged with their labels.

    Returns:
        "log_loss": the mean of -log p(label), in nats; "log_loss_of_base_rate": that of
        one who knows nothing but the share of positives; "ece": `expected_calibration_error`.
        None where there is no positive or no negative.

    Example:

    >>> same = np.zeros(2, int)
    >>> scored = Scored(same, same, label=np.array([1, 0]), logit=np.zeros(2), labelled=True)
    >>> calibration(scored, num_negatives=1)
    {'log_loss': 0.693..., 'log_loss_of_base_rate': 0.693..., 'ece': 0.0}
    """
    label = np.asarray(scored.label, np.float64)
    share = label.mean() if len(label) else 0.0
    if not 0 < share < 1:
        return None
    logit = np.asarray(scored.logit, np.float64)
    if not scored.labelled:
        logit = logit + np.log(num_negatives * share / (1 - share))
    losses = np.logaddexp(0, np.where(label > 0, -logit, logit))
    return {
        "log_loss": float(losses.mean()),
        "log_loss_of_base_rate": float(-share * np.log(share) - (1 - share) * np.log(1 - share)),
        "ece": expected_calibration_error(label, np.exp(-np.logaddexp(0, -logit))),
    }


def expected_calibration_error(label: np.ndarray, probability: np.ndarray) -> float:
    """Returns how far probabilities are from frequencies, on average.

    Candidates are divided by probability into 15 bins of about equal number, since most
    probabilities are small; equal ones share a bin. The error is the mean over candidates of
    |mean probability - share of positives| of their bin.

    Args:
        label: 1 or 0: [n].
        probability: [n].

    Example:

    >>> expected_calibration_error(np.array([1, 0, 0, 0]), np.full(4, 0.75))
    0.5

    Reference:
        Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
        Binning", AAAI 2015.
    """
    edges = np.quantile(probability, np.linspace(0, 1, _NUM_BINS + 1)[1:-1])
    bins = np.searchsorted(edges, probability)
    return float(np.abs(np.bincount(bins, probability - label)).sum() / len(label))
