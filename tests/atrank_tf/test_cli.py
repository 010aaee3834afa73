"""The command lines' common start, and the progress that they show."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from data_pipeline.core import progress

Command = Callable[..., subprocess.CompletedProcess[str]]

MODULES = [
    "data_pipeline.prepare",
    "atrank_tf.train",
    "atrank_tf.evaluate",
    "atrank_tf.experiment",
    "atrank_tf.attention",
    "export.export_model",
    "export.score",
    "export.serve",
    "export.smoke",
    "export.verify",
    "benchmarks.input_pipeline",
    "data_pipeline.recipes.movielens_100k",
    "benchmarks.profile_step",
    "benchmarks.serving_latency",
    "benchmarks.serving_soak",
    "benchmarks.synthetic",
]


@pytest.mark.parametrize("module", MODULES)
def test_help_names_every_flag_and_an_example(command: Command, module: str) -> None:
    done = command(module, "--help")
    assert f"python -m {module}" in done.stdout
    assert done.returncode == 0
    assert "--" in done.stdout.split("\nRun:")[1]
    assert "Traceback" not in done.stderr


def test_console_scripts_show_the_same_help() -> None:
    line = "import sys; sys.argv[0] = 'atrank-score'; from export.score import main; main()"
    script = subprocess.run(
        [sys.executable, "-c", line, "--help"], capture_output=True, text=True, check=False
    )
    assert "Scores raw requests with an exported model" in script.stdout
    assert "--requests" in script.stdout


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


def test_figures_without_matplotlib() -> None:
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'matplotlib': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from data_pipeline.core import cli\n"
        "def body():\n    from atrank_tf.attention import plots\n"
        "cli.run(body)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "figures need matplotlib: pip install 'atrank-tf[plots]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_flags_are_refused(command: Command) -> None:
    done = command("atrank_tf.train", "--no_such_flag=1")
    assert done.returncode == 2
    assert done.stderr == "error: --no_such_flag: there is no such flag (--help lists them)\n"


def test_a_closed_pipe_is_no_error() -> None:
    code = (
        "from data_pipeline.core import cli\n"
        "def body():\n    for _ in range(100000): print('x' * 100)\n"
        "cli.run(body)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_progress_tells_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    query_time = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: query_time[0])
    shown = progress.Progress("reading", "rows", total=1000, seconds=5)
    for seconds, count in ((60, 100), (62, 50), (66, 50), (68, 100)):
        query_time[0] = seconds
        shown.advance(count, note="loss 0.5" if seconds == 68 else "")
    query_time[0] = 74
    shown.advance(150, at_most=3.0)
    query_time[0] = 80
    shown.advance(550)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 150 rows, 25/s, about 0:34 left",
        "reading: 300 rows, 25/s, about 0:28 left, loss 0.5",
        "reading: 450 rows, 25/s, about 0:03 left",
        "reading: 1,000 rows, 45/s",
    ]
