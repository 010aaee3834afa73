"""Ranking metrics against scikit-learn and against their definitions, spelled out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from atrank_tf.evaluate import ranking_metrics
from atrank_tf.evaluate.ranking_metrics import PerUser, Scored


def scored(rows: list[tuple[int, int, int, float]], labelled: bool = False) -> Scored:
    user, query, label, logit = (np.array(column) for column in zip(*rows, strict=True))
    return Scored(user, query, label, logit.astype(float), labelled)


# Candidates of few different scores, so that ties are frequent.
CANDIDATES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1), st.integers(-2, 2)),
    min_size=1,
    max_size=60,
).map(lambda rows: [(user, 10 * user + query, y, float(s)) for user, query, y, s in rows])


def by_hand(rows: list[tuple[int, int, int, float]], labelled: bool) -> dict[int, dict[str, float]]:
    users: dict[int, dict[str, list[float]]] = {}
    for user, query, label, logit in rows:
        if not label:
            continue
        metrics = users.setdefault(user, {"auc": [], "hr@10": [], "ndcg@10": [], "mrr": []})
        negatives = [s for _, q, y, s in rows if q == query and not y]
        if negatives:
            ahead = sum(s > logit for s in negatives) + sum(s == logit for s in negatives) / 2
            metrics["hr@10"].append(float(1 + ahead <= 10))
            metrics["ndcg@10"].append(float(1 + ahead <= 10) / np.log2(2 + ahead))
            metrics["mrr"].append(1 / (1 + ahead))
        if labelled:
            negatives = [s for u, _, y, s in rows if u == user and not y]
        if negatives:
            wins = [float(logit > s) + 0.5 * float(logit == s) for s in negatives]
            metrics["auc"].append(sum(wins) / len(wins))
    return {
        user: {name: float(np.mean(v)) if v else np.nan for name, v in values.items()}
        for user, values in users.items()
    }


def test_a_score_that_is_no_number_has_no_rank() -> None:
    with pytest.raises(ValueError, match="a score is nan: it has no rank"):
        ranking_metrics.per_user(scored([(1, 1, 1, float("nan")), (1, 1, 0, 0.0)]))


@given(rows=CANDIDATES, labelled=st.booleans())
@settings(max_examples=100, deadline=None)
def test_per_user_is_what_the_definitions_say(
    rows: list[tuple[int, int, int, float]], labelled: bool
) -> None:
    metrics = ranking_metrics.per_user(scored(rows, labelled))
    expected = by_hand(rows, labelled)
    assert metrics.user.tolist() == sorted(expected)
    for name, values in metrics.means.items():
        wanted = [expected[user][name] for user in metrics.user.tolist()]
        np.testing.assert_allclose(values, wanted, atol=1e-12)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40).filter(
        lambda rows: len({label for label, _ in rows}) == 2
    )
)
@settings(max_examples=50, deadline=None)
def test_auc_of_one_list_is_scikit_learns(rows: list[tuple[int, int]]) -> None:
    labels, logits = zip(*rows, strict=True)
    metrics = ranking_metrics.per_user(
        scored([(1, 1, y, float(s)) for y, s in rows], labelled=True)
    )
    assert metrics.means["auc"][0] == pytest.approx(roc_auc_score(labels, logits))


def test_ndcg_of_one_positive_is_scikit_learns() -> None:
    logits = np.random.default_rng(0).permutation(30).astype(float)
    rows = [(1, 1, int(i == 7), s) for i, s in enumerate(logits)]
    ndcg = ranking_metrics.per_user(scored(rows)).means["ndcg@10"][0]
    labels = np.zeros((1, 30))
    labels[0, 7] = 1
    assert ndcg == pytest.approx(ndcg_score(labels, logits[np.newaxis], k=10))


def test_gauc_weighs_users_by_their_positives() -> None:
    rows = [(1, 1, 1, 1.0), (1, 1, 0, 0.0)]
    rows += [(2, 2 + i, y, float(-y)) for i in range(3) for y in (0, 1)]
    summary = ranking_metrics.summarize(ranking_metrics.per_user(scored(rows)))
    assert summary["auc"]["value"] == 0.5
    assert summary["gauc"]["value"] == 0.25
    assert (summary["users"], summary["positives"]) == (2, 4)


def test_interval_is_the_bootstraps_and_covers_the_value() -> None:
    random = np.random.default_rng(0)
    auc = random.uniform(0.5, 1, 400)
    users = PerUser(
        np.arange(400), np.ones(400, int), dict.fromkeys(("auc", "hr@10", "ndcg@10", "mrr"), auc)
    )
    interval = ranking_metrics.summarize(users)["auc"]
    deviation = auc.std() / 20
    assert interval["value"] == pytest.approx(auc.mean())
    assert interval["low"] == pytest.approx(auc.mean() - 1.96 * deviation, abs=0.2 * deviation)
    assert interval["high"] == pytest.approx(auc.mean() + 1.96 * deviation, abs=0.2 * deviation)
    assert ranking_metrics.summarize(users) == ranking_metrics.summarize(users)


def test_nothing_to_measure() -> None:
    alone = ranking_metrics.per_user(scored([(1, 1, 1, 0.5)]))
    summary = ranking_metrics.summarize(alone)
    assert summary["auc"] is None
    assert summary["mrr"] is None
    assert summary["users"] == 0
    empty = np.empty(0, np.int64)
    assert ranking_metrics.per_user(Scored(empty, empty, empty, empty)).user.tolist() == []


def test_difference_is_paired_by_user() -> None:
    def users(ids: list[int], auc: list[float]) -> PerUser:
        values = {name: np.array(auc) for name in ("auc", "hr@10", "ndcg@10", "mrr")}
        return PerUser(np.array(ids), np.ones(len(ids), int), values)

    difference = ranking_metrics.difference(
        users([1, 2, 3], [0.9, 0.5, np.nan]), users([2, 1, 3], [0.4, 0.8, 1])
    )
    assert difference is not None
    assert difference["value"] == pytest.approx(0.1)
    assert difference["low"] == pytest.approx(0.1)
    assert ranking_metrics.difference(users([1], [0.5]), users([2], [0.5])) is None
