"""Files that cannot be prepared, and the message that they end with."""

from pathlib import Path

import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Columns, Group, Schema

ITEM = Schema(groups=(Group("item"),), targets=("item",))
ACTIONS = Schema(
    (Group("item", actions=("buy", "view")),), ("item",), columns=Columns(action="action")
)
TWO = Schema((Group("item"), Group("query")), ("item",), columns=Columns(group="group"))
TABLE = Schema((Group("item", objects="objects.csv"),), ("item",))
SHOWN = Schema((Group("item", impressions="shown.csv"),), ("item",))
HEADER = "user,object,time\n"


def failure(tmp_path: Path, schema: Schema, **files: str) -> str:
    """The message that preparing these files ends with; nothing may be left behind."""
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    before = set(tmp_path.iterdir())
    events = [str(tmp_path / "e.csv")] if "e" in files else []
    with pytest.raises(UserError) as caught:
        prepare(schema, tmp_path / "out", events, base_dir=tmp_path)
    assert set(tmp_path.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{tmp_path}/", "")
