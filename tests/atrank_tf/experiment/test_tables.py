"""Tables of experiments, against plain computations."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atrank_tf.evaluate.ranking_metrics import PerUser
from atrank_tf.experiment import tables
from atrank_tf.experiment.runner import METRICS, Result, Trial
from atrank_tf.experiment.suites import Entry
from atrank_tf.train.settings import Settings

NAN = float("nan")


def of_users(aucs: dict[int, float]) -> PerUser:
    """Users and their AUC."""
    values = np.array(list(aucs.values()), float)
    positives = 1 - np.isnan(values)  # Those that were compared with a negative.
    return PerUser(np.array(list(aucs), int), positives, dict.fromkeys(METRICS, values))


def trial(users: PerUser, auc: float | None = None, **costs: float) -> Trial:
    return Trial(Path(), {"item": users}, auc, [], costs)


def test_metrics_are_means_over_users_with_their_spread_over_seeds() -> None:
    users, positives = np.array([3, 5]), np.array([1, 2])
    trials = [
        trial(PerUser(users, positives, dict.fromkeys(METRICS, np.array(values))))
        for values in ([0.2, 0.4], [0.6, 1.0])
    ]
    table = tables.metrics({"a": trials, "b": trials[:1]}, "item").set_index("model")
    assert table["auc"]["a"].endswith(") +- 0.3536")
    assert table["gauc"]["a"].endswith(") +- 0.3771")
    assert table["auc"]["b"].endswith(")")
    assert table["auc"]["a"].startswith("0.5500 (")
    assert table["gauc"]["b"].startswith("0.3333 (")
    assert table["users"].tolist() == [2, 2]


def test_metrics_of_users_none_of_whom_could_be_measured() -> None:
    measured = {"a": [trial(of_users({3: NAN}))] * 2, "b": [trial(of_users({}))]}
    table = tables.metrics(measured, "item")
    assert table[["auc", "gauc", "hr@10", "ndcg@10", "mrr"]].to_numpy().tolist() == [["-"] * 5] * 2
    assert table["users"].tolist() == [0, 0]


def test_differences_are_of_users_that_both_measured() -> None:
    users = {
        "a": of_users({1: 0.9, 2: 0.5, 3: NAN}),
        "b": of_users({2: 0.25, 3: 1.0, 4: 0.0}),
        "c": of_users({7: 0.5}),
    }
    table = tables.differences(users, [("a", "b"), ("b", "a"), ("a", "c")])
    assert table.to_numpy().tolist() == [
        ["a", "b", "+0.2500 (+0.2500 to +0.2500)"],
        ["b", "a", "-0.2500 (-0.2500 to -0.2500)"],
        ["a", "c", "-"],
    ]
    nothing = tables.differences(users, [])
    assert nothing.columns.tolist() == ["model", "against", "AUC difference"]
    assert len(nothing) == 0


def test_parts_of_the_users_have_means_and_leads_of_their_own() -> None:
    users = {"a": of_users({1: 0.9, 2: 0.5, 3: NAN}), "b": of_users({1: 0.4, 2: 0.1, 3: 0.3})}
    density = {
        "1 to 4": np.array([True, True, False]),
        "5 to 9": np.array([False, False, True]),
    }
    assert tables.by_density(users, density).to_numpy().tolist() == [
        ["a", "0.7000", "-"],
        ["b", "0.2500", "0.3000"],
    ]
    table = tables.leads_by_density(users, [("a", "b")], density)
    assert table.columns.tolist() == ["model", "against", "1 to 4", "5 to 9"]
    assert str(table["1 to 4"][0]).startswith("+0.4500 (+0.4000 to +0.5000")
    assert table["5 to 9"].tolist() == ["-"]
    assert len(tables.leads_by_density(users, [], density)) == 0


def test_costs_are_means_and_a_dash_is_what_a_model_does_not_have() -> None:
    def costs(seconds: float) -> dict[str, float]:
        return {
            "parameters": 12345.0,
            "seconds": seconds,
            "targets_per_second": 1000 * seconds,
            "scoring_microseconds": seconds / 10,
        }

    users = of_users({1: 0.5})
    trials = [trial(users, 0.5, **costs(1)), trial(users, 0.75, **costs(4))]
    settings = {
        "atrank": Settings(learning_rate=0.004, max_history=50),
        "bpr": Settings(model="bpr", learning_rate=0.004),
        "popularity": Settings(model="popularity"),
    }
    table = tables.costs(
        {
            name: Result(
                Entry(name, of_entry),
                trials if name == "atrank" else [trial(users, None, **costs(1))],
            )
            for name, of_entry in settings.items()
        }
    ).set_index("model")
    line = [0.004, 50, "0.6250", "12,345", "2 s", "2,500", "0.2 us"]
    assert table.to_numpy().tolist()[0] == line
    assert table["learning rate"].tolist() == [0.004, 0.004, "-"]
    assert table["behaviors read"].tolist() == [50, "-", "-"]
    assert table["validation AUC"]["popularity"] == "-"


def test_known_aucs_are_of_the_part_and_numbers() -> None:
    users = of_users({1: 0.9, 2: NAN, 3: 0.1})
    assert tables.known_aucs(users, np.array([True, True, False])).tolist() == [0.9]
    assert tables.known_aucs(users, np.array([False, True, False])).tolist() == []


@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_density_parts_are_never_empty(counts: list[int]) -> None:
    users = np.arange(len(counts))
    parts = tables.density_parts(users, dict(enumerate(counts)))
    assert all(part.any() for part in parts.values())
    assert sum(part.astype(int) for part in parts.values()).tolist() == [1] * len(counts)


def test_density_parts_hold_every_user_once(lengths: dict[int, int]) -> None:
    users = np.array(sorted(lengths))
    parts = tables.density_parts(users, lengths)
    assert sum(part.astype(int) for part in parts.values()).tolist() == [1] * len(users)
    for name, part in parts.items():
        low, high = map(int, name.split(" to "))
        counts = [lengths[user] for user in users[part].tolist()]
        assert low <= min(counts) <= max(counts) <= high
    assert len(tables.density_parts(users, dict.fromkeys(users.tolist(), 5))) == 1


def test_density_parts_of_one_user_and_of_users_without_a_history() -> None:
    parts = tables.density_parts(np.array([4]), {4: 7})
    assert {name: part.tolist() for name, part in parts.items()} == {"7 to 7": [True]}
    parts = tables.density_parts(np.array([1, 2, 3, 4]), {3: 3, 4: 9})
    assert {name: part.tolist() for name, part in parts.items()} == {
        "0 to 2": [True, True, False, False],
        "3 to 9": [False, False, True, True],
    }
