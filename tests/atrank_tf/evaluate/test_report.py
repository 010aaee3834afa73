"""Reports of an evaluation as text: tables, differences, calibration."""

from typing import Any

from atrank_tf.evaluate.report import format_calibration, format_differences, format_table


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def summary(auc: float, users: int) -> dict[str, Any]:
    names = ("auc", "gauc", "hr@10", "ndcg@10", "mrr")
    return {name: interval(auc - i / 10) for i, name in enumerate(names)} | {"users": users}


NOTHING = {"auc": None, "gauc": None, "hr@10": None, "ndcg@10": None, "mrr": None, "users": 0}
REPORT: dict[str, Any] = {
    "name": "atrank",
    "targets": {"item": summary(0.9, 1234), "query": NOTHING},
    "calibration": {
        "item": {"log_loss": 0.51234, "log_loss_of_base_rate": 0.6, "ece": 0.02},
        "query": None,
    },
    "baselines": {
        "runs/bpr": {
            "name": "bpr",
            "targets": {"item": summary(0.8, 1234), "query": NOTHING},
            "auc_difference": {"item": interval(0.1), "query": None},
            "calibration": {
                "item": {"log_loss": 1.0, "log_loss_of_base_rate": 0.6, "ece": 0.3},
            },
        },
        "runs/one": {  # It was trained on one target.
            "name": "one",
            "targets": {"item": summary(0.7, 9)},
            "auc_difference": {"item": interval(-0.2)},
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
        "| query | atrank | no targets |  |  |  |  | 0 |",
        "| query | bpr | no targets |  |  |  |  | 0 |",
    ]
    assert format_table(ALONE).splitlines() == [head, rule, lines[0], lines[3]]


def test_differences_are_those_that_could_be_measured() -> None:
    assert format_differences(REPORT).splitlines() == [
        "item: AUC of atrank less that of bpr, paired by user: +0.1000 (+0.0900 to +0.1100)",
        "item: AUC of atrank less that of one, paired by user: -0.2000 (-0.2100 to -0.1900)",
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
