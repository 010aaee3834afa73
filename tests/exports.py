"""A small model with random weights, exported and verified."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.export_model import export_model
from export.release import replay, session
from export.verify import Verification

Inputs = dict[str, np.ndarray]


Exported = tuple[Path, Verification, Inputs, list[replay.Replay]]


def make_export(run: Path, directory: Path) -> Exported:
    """Exports a run; returns the export, its verification, and answers and replays of that."""
    answers: Inputs = {}
    replays: list[replay.Replay] = []
    make_replays = replay.replays

    def recorded(*arguments: Any) -> list[replay.Replay]:
        replays.extend(make_replays(*arguments))
        return replays

    def run_here(saved_model: Path, requests: dict[str, np.ndarray]) -> Inputs:
        # A process of its own, as `verify` has it, takes its time to start.
        nested: dict[str, session.Requests] = {}
        for path, value in requests.items():
            name, signature, key = path.split("/")
            nested.setdefault(name, {}).setdefault(signature, {})[key] = value
        answers.update(session.run(str(saved_model), nested, optimize=False))
        return answers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "run_in_session", run_here)
        patch.setattr(replay, "replays", recorded)
        version, verification = export_model(run, directory / "atrank")
    return version, verification, answers, replays
