"""What every command line shares: its help, and how it fails."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

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


SWALLOWED = """
import os, signal, sys, time
from data_pipeline.core import cli
class Traced:
    def __del__(self):  # As of a graph that is dropped while the next is traced.
        os.kill(os.getpid(), number)
        for _ in range(10): pass
def body():
    traced = Traced()
    del traced
    time.sleep(60)
number = getattr(signal, sys.argv.pop())
cli.run(body)
"""


@pytest.mark.parametrize("name", ["SIGTERM"])
def test_a_signal_within_a_destructor_is_not_lost(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED, name],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stderr == "error: interrupted\n"


STUBBORN = """
import time
from data_pipeline.core import cli
def body():
    try:
        print("began", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
cli.run(body)
"""


def test_a_second_signal_ends_at_once() -> None:
    line = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "cleaning\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        ("MemoryError", "error: memory ran out: close what else runs, or ask for less at once"),
        ("OSError(28, 'No space left on device')", "error: No space left on device; what was half"),
    ],
)
def test_what_the_machine_lacks_is_a_line(raised: str, expected: str) -> None:
    code = f"from data_pipeline.core import cli\ndef body():\n    raise {raised}\ncli.run(body)"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(expected)
    assert done.stderr.count("\n") == 1
