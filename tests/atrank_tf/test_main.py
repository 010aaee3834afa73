"""`python -m atrank_tf`: the commands in the order in which they are used."""

import subprocess
from collections.abc import Callable

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_it_lists_the_commands_in_order(command: Command) -> None:
    done = command("atrank_tf")
    assert done.returncode == 0
    assert command("atrank_tf", "--helpfull").stdout == done.stdout
    names = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  atrank ")]
    steps = ["prepare", "train", "evaluate", "experiment", "attention"]
    assert names[:10] == [*steps, "export", "verify", "score", "serve", "smoke"]
    assert "Trains a model on prepared data." in done.stdout


def test_it_runs_one(command: Command) -> None:
    done = command("atrank_tf", "score", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Scores raw requests")


def test_a_command_that_there_is_not(command: Command) -> None:
    done = command("atrank_tf", "dance")
    assert done.returncode == 2
    assert done.stderr == "error: 'dance': there is no such command; atrank lists them\n"
