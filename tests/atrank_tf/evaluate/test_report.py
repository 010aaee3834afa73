"""Reports of an evaluation as text: tables, differences, calibration."""

from typing import Any

from atrank_tf.evaluate.report import (
    format_calibration,
    format_differences,
    format_protocol,
    format_slices,
    format_table,
)


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def summary(auc: float, users: int) -> dict[str, Any]:
    names = ("auc", "gauc", "hr@10", "ndcg@10", "mrr")
    return {name: interval(auc - i / 10) for i, name in enumerate(names)} | {"users": users}


NOTHING: dict[str, Any] = {
    **dict.fromkeys(("auc", "gauc", "hr@10", "ndcg@10", "mrr")),
    "users": 0,
    "kinds": {},
    "slices": {"hour": {}},
}
KNOWN = {
    **summary(0.9, 1234),
    "kinds": {"new": summary(0.85, 7)},
    "slices": {"hour": {"08": summary(0.95, 3)}},
}
REPORT: dict[str, Any] = {
    "name": "atrank",
    "targets": {"item": KNOWN, "query": NOTHING},
    "calibration": {
        "item": {"log_loss": 0.51234, "log_loss_of_base_rate": 0.6, "ece": 0.02},
        "query": None,
    },
    "baselines": {
        "runs/bpr": {
            "name": "bpr",
            "targets": {"item": {**KNOWN, **summary(0.8, 1234)}, "query": NOTHING},
            "differences": {
                "item": {"auc": interval(0.1), "hr@10": interval(0.05)},
                "query": {"auc": None, "hr@10": None},
            },
            "calibration": {
                "item": {"log_loss": 1.0, "log_loss_of_base_rate": 0.6, "ece": 0.3},
            },
        },
        "runs/one": {  # It was trained on one target.
            "name": "one",
            "targets": {"item": {**summary(0.7, 9), "kinds": {}, "slices": {"hour": {}}}},
            "differences": {"item": {"auc": interval(-0.2)}},
        },
    },
}
ALONE = {**REPORT, "baselines": {}}


def test_the_table_has_a_line_for_each_target_and_model_that_knows_it() -> None:
    head, rule, *lines = format_table(REPORT).splitlines()
    assert head.count("|") == rule.count("|") == 9
    assert lines == [
        "| item | atrank | 0.9000 (0.8900 to 0.9100) | 0.8000 | 0.7000 | 0.6000 | 0.5000 | 1,234 |",
        "| item | bpr | 0.8000 (0.7900 to 0.8100) | 0.7000 | 0.6000 | 0.5000 | 0.4000 | 1,234 |",
        "| item | one | 0.7000 (0.6900 to 0.7100) | 0.6000 | 0.5000 | 0.4000 | 0.3000 | 9 |",
        "| item: new | atrank | 0.8500 (0.8400 to 0.8600) "
        "| 0.7500 | 0.6500 | 0.5500 | 0.4500 | 7 |",
        "| item: new | bpr | 0.8500 (0.8400 to 0.8600) | 0.7500 | 0.6500 | 0.5500 | 0.4500 | 7 |",
        "| query | atrank | nothing to compare |  |  |  |  | 0 |",
        "| query | bpr | nothing to compare |  |  |  |  | 0 |",
    ]
    assert format_table(ALONE).splitlines() == [head, rule, lines[0], lines[3], lines[5]]


def test_slices_have_a_table_for_each_target_that_has_any() -> None:
    lines = format_slices(REPORT, "hour").splitlines()
    assert lines[0].startswith("| item by hour | model | AUC ")
    assert lines[2:] == [
        f"| 08 | {model} | 0.9500 (0.9400 to 0.9600) | 0.8500 | 0.7500 | 0.6500 | 0.5500 | 3 |"
        for model in ("atrank", "bpr")
    ]


def test_a_caption_names_the_protocol() -> None:
    protocol = {"split": "validation", "negatives": 5, "sampling": "popularity"}
    kinds = {"item": "untouched", "query": "logged", "hotel": "lists"}
    assert format_protocol({**protocol, "kind": kinds}).splitlines() == [
        "validation targets; means over users of the means over their targets, which rank among",
        "item: 5 negatives drawn by their number of training events from objects that the user "
        "never touched",
        "query: the candidates that were logged at their time; AUC: all of their user's",
        "hotel: the candidates that were logged in their list",
    ]


def test_differences_are_those_that_could_be_measured() -> None:
    assert format_differences(REPORT).splitlines() == [
        "item: atrank less bpr, paired by user: AUC +0.1000 (+0.0900 to +0.1100), "
        "HR@10 +0.0500 (+0.0400 to +0.0600)",
        "item: atrank less one, paired by user: AUC -0.2000 (-0.2100 to -0.1900)",
    ]
    assert format_differences(ALONE) == ""


def test_calibration_is_told_of_models_that_learn_probabilities() -> None:
    assert format_calibration(REPORT).splitlines() == [
        "item: calibration of atrank: log-loss 0.5123 (base rate 0.6000), "
        "expected calibration error 0.0200",
        "item: calibration of bpr: log-loss 1.0000 (base rate 0.6000), "
        "expected calibration error 0.3000",
    ]
    assert format_calibration({"name": "bpr", "targets": {}, "baselines": {}}) == ""
