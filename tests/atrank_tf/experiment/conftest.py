"""What the small suite gave, trained once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrank_tf.experiment import runner as experiments
from atrank_tf.experiment.suites import SUITES
from atrank_tf.train import loop as training
from atrank_tf.train.settings import Settings
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.experiment.small_suite import BUDGET, ENTRIES


def trained(output: Path) -> dict[Path, int]:
    """When each checkpoint was written, of models that are trained at all."""
    paths = [path for path in output.rglob("*.keras") if "popularity" not in str(path)]
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.fixture(scope="session")
def lengths(data: TimelineData) -> dict[int, int]:
    """How long each user's history is."""
    return experiments.history_lengths(data, 1000)


@pytest.fixture(scope="session")
def results(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[experiments.Results, Path]:
    output = tmp_path_factory.mktemp("suite")

    def interrupted(data_dir: str, model_dir: str, settings: Settings) -> dict[str, Any]:
        if settings.model == "bpr":
            raise KeyboardInterrupt
        return training.train(data_dir, model_dir, settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SUITES, "small", lambda _: ENTRIES)
        patch.setattr(experiments, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            experiments.run("small", str(data_dir), str(output), BUDGET)
        before = trained(output)
        patch.setattr(experiments, "train", training.train)
        first = experiments.run("small", str(data_dir), str(output), BUDGET)
        states = trained(output)
        again = experiments.run("small", str(data_dir), str(output), BUDGET)
    assert before
    assert before.items() < states.items()
    assert trained(output) == states
    for label, (entry, trials) in first.items():
        assert again[label][0] == entry
        for trial, repeated in zip(trials, again[label][1], strict=True):
            assert trial.curve == [tuple(point) for point in repeated.curve]
            for target, users in trial.users.items():
                np.testing.assert_array_equal(
                    users.means["auc"], repeated.users[target].means["auc"]
                )
    return again, output
