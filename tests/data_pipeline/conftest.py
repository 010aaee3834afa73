"""The logs that the prepared data of all tests was made of."""

import pandas as pd
import pytest

from tests.conftest import make_logs


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    source = tmp_path_factory.mktemp("logs")
    make_logs(source)
    return pd.read_parquet(source / "events.parquet")
