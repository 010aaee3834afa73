"""Made-up logs follow their rules, and a model is measured beside what they allow."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import ceilings


def test_what_is_clicked_is_the_last_touched_where_it_is_shown(tmp_path: Path) -> None:
    ceilings.write_sessions(tmp_path, num_users=300)
    last = pd.read_csv(tmp_path / "events.csv").groupby("user")["object"].last()
    shown = pd.read_csv(tmp_path / "shown.csv")
    assert (shown.groupby("user")["label"].sum() == 1).all()
    is_last = shown["object"] == shown["user"].map(last)
    assert shown["label"][is_last].all()
    assert is_last.groupby(shown["user"]).any().mean() == pytest.approx(0.5, abs=0.1)
    assert not shown.duplicated(["user", "object"]).any()


def test_habits_and_films(tmp_path: Path) -> None:
    ceilings.write_repeats(tmp_path, num_users=20)
    events = pd.read_csv(tmp_path / "events.csv")
    assert (events.groupby("user")["object"].nunique() == 10).all()
    ceilings.write_films(tmp_path, num_users=20)
    assert not pd.read_csv(tmp_path / "events.csv").duplicated(["user", "object"]).any()


@pytest.mark.slow
def test_a_model_is_measured_beside_the_rule(tmp_path: Path) -> None:
    aucs = ceilings.measure("sessions", tmp_path, num_users=300, epochs=1)
    # The rule knows half of the clicks for sure, and nothing of the others.
    assert aucs["rule"] == pytest.approx(0.75, abs=0.08)
    assert aucs["rule_new"] == pytest.approx(0.75, abs=0.15)
    assert 0 < aucs["atrank"] < 1
    assert 0 < aucs["atrank_new"] < 1
