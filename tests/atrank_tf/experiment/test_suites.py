"""The suites: their entries, and the budget that each entry is given."""

import pytest

from atrank_tf.experiment.suites import SUITES
from atrank_tf.models.registry import looks_up, model_class, model_names
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.experiment.small_suite import BUDGET


@pytest.mark.parametrize("suite", list(SUITES))
def test_the_entries_of_a_suite(suite: str, data: TimelineData) -> None:
    entries = SUITES[suite](data.schema)
    assert len({entry.label for entry in entries}) == len(entries)
    for entry in entries:
        settings = entry.settings.completed()
        data.schema.select(settings.groups, settings.targets)
    assert entries[0].settings.model == "atrank"
    models = {entry.settings.model for entry in entries}
    if suite == "single":
        assert models == set(model_names())
        ways: dict[str, set[bool]] = {}
        for entry in entries:
            does = looks_up(entry.settings.model, entry.settings.model_settings)
            ways.setdefault(entry.settings.model, set()).add(does)
        trained = {name for name in model_names() if model_class(name).is_trained}
        assert {name for name, of_model in ways.items() if len(of_model) == 2} == trained
    if suite in ("multi", "density"):
        assert models >= {"atrank", "bpr", "bilstm", "bilstm_attention", "cnn"}


def test_a_bad_budget_is_refused() -> None:
    for rate in (-0.001, float("nan")):
        with pytest.raises(UserError, match=r"learning_rates\.1 is .*: expected a number above 0"):
            BUDGET.replace(learning_rates=[0.1, rate])
    with pytest.raises(UserError, match="seconds is nan: expected a number above 0"):
        BUDGET.replace(seconds=float("nan"))
    with pytest.raises(UserError, match="negatives is 0: expected 1 or more"):
        BUDGET.replace(negatives=0)


def test_every_reference_is_compared_with_those_below_it(data: TimelineData) -> None:
    entries = SUITES["multi"](data.schema)
    assert [entry.label for entry in entries if entry.is_reference] == [
        "atrank all2all",
        "atrank all2one item",
        "atrank one2one item",
        "atrank all2one query",
        "atrank one2one query",
    ]
    for suite in ("single", "density", "ablation"):
        assert [e.is_reference for e in SUITES[suite](data.schema)].index(True) == 0
        assert sum(e.is_reference for e in SUITES[suite](data.schema)) == 1
