"""Options of batches: what does not go together."""

import pytest

from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData


def test_windows_are_for_training_alone(data: TimelineData) -> None:
    with pytest.raises(UserError, match="rows is 'windows': for training alone, use 'queries'"):
        data.batches("test", BatchOptions(rows="windows"))
    with pytest.raises(UserError, match="max_queries: for rows='queries'; windows hold all"):
        data.batches("train", BatchOptions(rows="windows", max_queries=3))


def test_unknown_split(data: TimelineData) -> None:
    with pytest.raises(UserError, match="split is 'dev': expected one of train, validation, test"):
        data.batches("dev")
    with pytest.raises(UserError, match="num_negatives is -1: expected 1 or more"):
        BatchOptions(num_negatives=-1)
