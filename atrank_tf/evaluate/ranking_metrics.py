"""Ranking metrics per user, with bootstrap intervals over users."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

NAMES = ("auc", "gauc", "hr@10", "ndcg@10", "mrr")
_CUTOFF = 10
_RESAMPLES = 1000
_RESAMPLES_AT_ONCE = 50


@dataclasses.dataclass(frozen=True)
class Scored:
    """Scored candidates of one target, one entry a candidate.

    Attributes:
        user: Whose candidate: integers [n].
        query: Which query it answers, numbered over all users: integers [n].
        label: 1 for a positive, 0 for a negative: [n].
        logit: The model's score: float [n].
        labelled: Whether the candidates were logged with their labels. AUC then compares
            all of a user's positives with all of their negatives; otherwise those of one query.
        in_lists: Whether they were logged in lists, which `query` then numbers: AUC compares
            those of one list.
        facts: What else is known of each candidate, by name: [n].

    Example:

    >>> scored = Scored(
    ...     user=np.array([7, 7]), query=np.array([0, 0]), label=np.array([1, 0]),
    ...     logit=np.array([0.3, -0.2]))
    >>> per_user(scored).means["auc"]
    array([1.])
    """

    user: np.ndarray
    query: np.ndarray
    label: np.ndarray
    logit: np.ndarray
    labelled: bool = False
    in_lists: bool = False
    facts: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Positives:
    """Metrics of each positive.

    Attributes:
        user: Whose: integers [n].
        values: For each of "auc", "hr@10", "ndcg@10", "mrr" its value, float [n]; NaN where there
            was no negative to compare it with.
        facts: What else is known of each, by name: [n].

    Example:

    >>> positives = Positives(np.array([3, 8]), {"auc": np.array([0.5, 1.0])})
    >>> positives.subset(np.array([False, True])).values
    {'auc': array([1.])}
    """

    user: np.ndarray
    values: Mapping[str, np.ndarray]
    facts: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def subset(self, is_in: np.ndarray) -> "Positives":
        """Returns a part of the positives: bool [n]."""
        return Positives(
            self.user[is_in],
            {name: values[is_in] for name, values in self.values.items()},
            {name: values[is_in] for name, values in self.facts.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence["Positives"]) -> "Positives":
        """Returns the positives of several parts, of which there is at least one."""
        first = parts[0]
        return cls(
            np.concatenate([part.user for part in parts]),
            {name: np.concatenate([p.values[name] for p in parts]) for name in first.values},
            {name: np.concatenate([p.facts[name] for p in parts]) for name in first.facts},
        )


@dataclasses.dataclass(frozen=True)
class PerUser:
    """Metrics by user: means over the user's positives.

    Attributes:
        user: The users, ascending: integers [users].
        positives: Their number of positives that were compared with a negative: [users].
        means: For each of "auc", "hr@10", "ndcg@10", "mrr" the users' means, float
            [users]; NaN where a user has no positive that could be compared.

    Example:

    >>> metrics = PerUser(np.array([3, 8]), np.array([2, 1]), {"auc": np.array([0.5, 1.0])})
    >>> metrics.subset(np.array([False, True])).means
    {'auc': array([1.])}
    """

    user: np.ndarray
    positives: np.ndarray
    means: Mapping[str, np.ndarray]

    def subset(self, is_in: np.ndarray) -> "PerUser":
        """Returns the metrics of a part of the users: bool [users]."""
        means = {name: values[is_in] for name, values in self.means.items()}
        return PerUser(self.user[is_in], self.positives[is_in], means)


def per_positive(scored: Scored) -> Positives:
    """Computes the metrics of each positive.

    With `above` negatives scored above a positive and `ties` scored alike, out of n:
    AUC is 1 - (above + ties / 2) / n, the mean of [positive above negative] with ties one
    half (the paper's); the positive's rank is 1 + above + ties / 2; it is a hit where
    that is at most 10, its NDCG then 1 / log2(1 + rank); its reciprocal rank 1 / rank.

    Args:
        scored: Candidates of one target.

    Raises:
        ValueError: A score is NaN, which has no rank.

    Example:

    >>> user, query = np.array([5, 5, 5]), np.array([0, 0, 0])
    >>> scored = Scored(user, query, np.array([1, 0, 0]), np.array([0.2, 0.9, -1.0]))
    >>> positives = per_positive(scored)
    >>> positives.values["auc"], positives.values["mrr"]  # One of two negatives is above it.
    (array([0.5]), array([0.5]))
    """
    if np.isnan(scored.logit).any():
        raise ValueError("a score is nan: it has no rank")
    is_positive = scored.label > 0
    above, ties, count = _negatives_against_positives(scored.query, scored)
    rank = np.where(count > 0, 1 + above + ties / 2, np.nan)
    hit = rank <= _CUTOFF
    values = {
        "hr@10": np.where(count > 0, hit, np.nan),
        "ndcg@10": np.where(count > 0, hit / np.log2(1 + rank), np.nan),
        "mrr": 1 / rank,
    }
    if scored.labelled and not scored.in_lists:
        above, ties, count = _negatives_against_positives(scored.user, scored)
    with np.errstate(invalid="ignore"):
        values["auc"] = np.where(count > 0, 1 - (above + ties / 2) / np.maximum(count, 1), np.nan)
    facts = {name: known[is_positive] for name, known in scored.facts.items()}
    return Positives(scored.user[is_positive], values, facts)


def by_user(positives: Positives) -> PerUser:
    """Averages positives by user.

    Returns:
        The metrics of every user with at least one positive.

    Example:

    >>> positives = Positives(np.array([8, 3, 8]), {"auc": np.array([0.5, 0.75, 1.0])})
    >>> by_user(positives).user, by_user(positives).means["auc"]
    (array([3, 8]), array([0.75, 0.75]))
    """
    users, position = np.unique(positives.user, return_inverse=True)
    means = {name: _means(v, position, len(users)) for name, v in positives.values.items()}
    is_compared = ~np.isnan(positives.values["auc"])
    return PerUser(users, np.bincount(position[is_compared], minlength=len(users)), means)


def per_user(scored: Scored) -> PerUser:
    """Computes each user's metrics: `by_user` of `per_positive`.

    Example:

    >>> user, query = np.array([5, 5, 5]), np.array([0, 0, 0])
    >>> scored = Scored(user, query, np.array([1, 0, 0]), np.array([0.2, 0.9, -1.0]))
    >>> per_user(scored).means["auc"]
    array([0.5])
    """
    return by_user(per_positive(scored))


def summarize(metrics: PerUser, seed: int = 0) -> dict[str, object]:
    """Averages over users, with 95% bootstrap intervals over users.

    "auc", "hr@10", "ndcg@10" and "mrr" weigh every user alike; "gauc" is the AUC weighted
    by the user's number of positives.

    Args:
        metrics: What `per_user` returned.
        seed: Of the resampling.

    Returns:
        "users" and "positives" (counts), and for each metric a dictionary of "value",
        "low" and "high"; None in their place where no user could be measured.

    Example:

    >>> values = dict.fromkeys(("auc", "hr@10", "ndcg@10", "mrr"), np.array([0.5, 1.0]))
    >>> summary = summarize(PerUser(np.array([3, 8]), np.array([3, 1]), values))
    >>> summary["auc"]["value"], summary["gauc"]["value"]
    (0.75, 0.625)
    """
    summary: dict[str, object] = {
        "users": int((metrics.positives > 0).sum()),
        "positives": int(metrics.positives.sum()),
    }
    for name in NAMES:
        summary[name] = _with_interval(*_weighed(metrics, name), seed)
    return summary


def mean(metrics: PerUser, name: str) -> float:
    """Returns the mean over users that `summarize` gives, without the cost of an interval.

    Args:
        metrics: What `per_user` returned.
        name: One of `NAMES`.

    Returns:
        The mean; NaN where no user could be measured.

    Example:

    >>> metrics = PerUser(np.array([3, 8]), np.array([3, 1]), {"auc": np.array([0.5, 1.0])})
    >>> mean(metrics, "gauc")
    0.625
    """
    values, weights = _weighed(metrics, name)
    return float(np.average(values, weights=weights)) if len(values) else float("nan")


def difference(
    first: PerUser, second: PerUser, name: str = "auc", seed: int = 0
) -> dict[str, float] | None:
    """Returns the mean difference of a metric, first less second, over the users both measured.

    Args:
        first: Metrics of one model.
        second: Metrics of another on the same candidates.
        name: One of `NAMES`.
        seed: Of the resampling.

    Returns:
        "value", "low" and "high": the paired difference and its 95% bootstrap interval; None
        where no user was measured with both.

    Example:

    >>> first = PerUser(np.array([3, 8]), np.array([1, 1]), {"auc": np.array([0.75, 1.0])})
    >>> second = PerUser(np.array([3, 8]), np.array([1, 1]), {"auc": np.array([0.5, 0.75])})
    >>> difference(first, second)
    {'value': 0.25, 'low': 0.25, 'high': 0.25}
    """
    _, i, j = np.intersect1d(first.user, second.user, return_indices=True)
    column = "auc" if name == "gauc" else name
    change = first.means[column][i] - second.means[column][j]
    weights = first.positives[i] if name == "gauc" else np.ones(len(change))
    is_measured = ~np.isnan(change) & (weights > 0)
    return _with_interval(change[is_measured], weights[is_measured].astype(np.float64), seed)


def format_interval(interval: Mapping[str, float], sign: str = "") -> str:
    """Returns "value (low to high)" of what `summarize` or `difference` returned.

    Args:
        interval: "value", "low" and "high".
        sign: "+" to show the sign of positive numbers, too.

    Example:

    >>> format_interval({"value": 0.02, "low": -0.01, "high": 0.05}, "+")
    '+0.0200 (-0.0100 to +0.0500)'
    """
    value, low, high = (f"{interval[name]:{sign}.4f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _means(values: np.ndarray, position: np.ndarray, num_users: int) -> np.ndarray:
    """Means by user of the values that are not NaN; NaN where there is none: [num_users]."""
    valid = ~np.isnan(values)
    total = np.bincount(position[valid], values[valid], num_users)
    number = np.bincount(position[valid], minlength=num_users)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _negatives_against_positives(
    lists: np.ndarray, scored: Scored
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each positive: negatives of its list scored above it, alike, and in all."""
    is_positive = scored.label > 0
    levels, level = np.unique(scored.logit, return_inverse=True)
    _, number = np.unique(lists, return_inverse=True)
    key = number.astype(np.int64) * len(levels) + level
    negatives = np.sort(key[~is_positive])
    positives = key[is_positive]
    first = number[is_positive].astype(np.int64) * len(levels)
    start, end = np.searchsorted(negatives, first), np.searchsorted(negatives, first + len(levels))
    below = np.searchsorted(negatives, positives)
    up_to = np.searchsorted(negatives, positives, "right")
    return end - up_to, up_to - below, end - start


def _weighed(metrics: PerUser, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of the users who could be measured, and how much each counts."""
    values = metrics.means["auc" if name == "gauc" else name]
    weights = metrics.positives if name == "gauc" else np.ones(len(values))
    valid = ~np.isnan(values) & (weights > 0)
    return values[valid], weights[valid].astype(np.float64)


def _with_interval(values: np.ndarray, weights: np.ndarray, seed: int) -> dict[str, float] | None:
    if not len(values):
        return None
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(_RESAMPLES // _RESAMPLES_AT_ONCE):
        shape = (_RESAMPLES_AT_ONCE, len(values))
        chosen = generator.integers(0, len(values), shape)
        means.append((values * weights)[chosen].sum(1) / weights[chosen].sum(1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    value = float((values * weights).sum() / weights.sum())
    return {"value": value, "low": float(low), "high": float(high)}
