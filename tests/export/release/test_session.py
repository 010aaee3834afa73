"""The script of the session loader."""

from pathlib import Path

from export.release import session


def test_the_session_script_knows_nothing_of_the_package() -> None:
    source = Path(session.__file__).read_text()
    assert "import atrank_tf" not in source
    assert "from atrank_tf" not in source
    assert "keras" not in source
