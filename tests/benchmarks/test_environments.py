"""Environments of other libraries: made once, and again when they change."""

from pathlib import Path

import pytest

from benchmarks import environments
from data_pipeline.core.errors import UserError


def test_an_environment_is_made_once_and_again_when_it_changes(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements-nothing.txt"
    requirements.write_text("# Nothing.\n")
    python = environments.python_of(requirements, tmp_path / "envs")
    environments.call([str(python), "-c", "import sys; assert sys.prefix != sys.base_prefix"], "it")
    marker = tmp_path / "envs/nothing/mine"
    marker.touch()
    assert environments.python_of(requirements, tmp_path / "envs") == python
    assert marker.exists()
    requirements.write_text("# Still nothing.\n./is-not-there.whl\n")
    with pytest.raises(UserError, match=r"environment nothing failed \(1\): .*is-not-there"):
        environments.python_of(requirements, tmp_path / "envs")
    assert not marker.exists()
