"""The version: in one place, written into files, and read back."""

import re

import pytest

from data_pipeline import UserError
from data_pipeline.version import MINOR_VERSION, __version__, check_version
from tests.conftest import REPOSITORY


def test_it_stands_in_one_place() -> None:
    assert __version__.split(".")[1] == str(MINOR_VERSION)
    for name in ("setup.py", "pyproject.toml"):
        assert not re.search(r"(?<!_)version ?= ?\"\d", (REPOSITORY / name).read_text())
    assert f"version: {__version__}" in (REPOSITORY / "CITATION.cff").read_text()
    changes = (REPOSITORY / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[?{re.escape(__version__)}\b", changes, re.M)


@pytest.mark.parametrize("found", [None, "0.1.0", "1.2.0", 2, "new"])
def test_another_version_is_refused(found: object) -> None:
    with pytest.raises(UserError, match=r"data/x: was written by .*, this is .*: prepare it again"):
        check_version(found, "data/x", "prepare it again")


def test_a_patch_of_the_same_version_is_read() -> None:
    check_version(__version__, "data/x", "prepare it again")
    check_version(__version__.rpartition(".")[0] + ".99", "data/x", "prepare it again")
