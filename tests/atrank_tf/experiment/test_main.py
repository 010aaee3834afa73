"""`python -m atrank_tf.experiment`."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from atrank_tf.experiment import runner as experiments
from data_pipeline.dataset import TimelineData
from data_pipeline.version import __version__
from tests.conftest import REPOSITORY
from tests.data_pipeline.core.test_cli import Command


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--data_dir=no", "--output_dir=out"), "no: holds no prepared data"),
        (
            ("--data_dir=no", "--output_dir=out", "--learning_rates=a"),
            "--learning_rates 'a': expected numbers",
        ),
    ],
)
def test_experiments_say_it_in_one_line(
    command: Command, arguments: tuple[str, ...], expected: str
) -> None:
    done = command("atrank_tf.experiment", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {expected}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ("0.001,0.01", "negatives=2, not 3"),
        ("", "learning_rates=[0.001, 0.01], not []"),
    ],
)
def test_flags_make_the_budget(
    command: Callable[..., subprocess.CompletedProcess[str]],
    data_dir: Path,
    tmp_path: Path,
    rates: str,
    expected: str,
) -> None:
    suite = {
        "version": __version__,
        "suite": "density",
        "seeds": 5,
        "seconds": 7.0,
        "learning_rates": [0.001, 0.01],
        "negatives": 2,
        "targets": ["query"],
        "data_fingerprint": TimelineData(data_dir).manifest.fingerprint,
    }
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    done = command(
        "atrank_tf.experiment",
        *(f"--data_dir={data_dir}", f"--output_dir={tmp_path}", "--suite=density"),
        *("--seconds=7", f"--learning_rates={rates}", "--negatives=3", "--targets=query"),
    )
    assert done.returncode == 1
    assert f"holds a suite with {expected}; choose another" in done.stderr
    assert json.loads((tmp_path / "suite.json").read_text()) == suite


@pytest.mark.slow
def test_command_line(results: tuple[experiments.Results, Path], data_dir: Path) -> None:
    _, output = results
    (output / "report.md").unlink(missing_ok=True)
    small = (
        "from atrank_tf.experiment.suites import SUITES;"
        "from tests.atrank_tf.experiment.small_suite import ENTRIES;"
        "SUITES['small'] = lambda _: ENTRIES;"
        "from atrank_tf.experiment.__main__ import main; main()"
    )
    budget = {"seeds": 2, "seconds": 0.3, "learning_rates": 0.004, "negatives": 20}
    flags = {"suite": "small", "data_dir": data_dir, "output_dir": output, **budget}
    done = subprocess.run(
        [sys.executable, "-c", small, *(f"--{name}={value}" for name, value in flags.items())],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = (output / "report.md").read_text()
    assert report in done.stdout
    assert f"wrote {output}/report.html, {output}/report.md, " in done.stdout
    assert f"next: open {output}/report.html in a browser" in done.stdout
    assert "## atrank small: vanilla attention" in report
