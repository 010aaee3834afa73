"""Verification: what it replays, and what it finds."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from atrank_tf import UserError
from export.release import replay
from export.verify import verify
from tests.exports import Exported, Inputs


def test_verification_replays_held_out_users(exported: Exported) -> None:
    _, verification, _, _ = exported
    assert verification.requests > 20
    assert verification.difference <= 1e-5
    assert verification.warmups == 2 * 2 * 6  # Targets, histories, signatures with `encode`.
    assert verification.variable_bytes <= 1.1 * verification.weight_bytes + 65_536


@pytest.mark.parametrize("value", [0.5, np.nan])
@pytest.mark.parametrize(
    "signature", ["serving_default/score", "score_examples/outputs", "explain__query/item_weights"]
)
def test_verification_fails_on_other_answers(
    run: Path, saved_model: Path, answers: Inputs, signature: str, value: float
) -> None:
    (answer, *_) = (n for n in answers if n.startswith("replay") and n.endswith(f"/{signature}"))
    answers[answer].flat[0] = value
    with pytest.raises(UserError, match="scores differ from the model's by up to"):
        verify(run, saved_model)


def test_verification_fails_on_a_warm_up_that_does(
    run: Path, saved_model: Path, answers: Inputs
) -> None:
    warmed = (n for n in answers if n.startswith("warmup") and "/encode/memory" in n)
    name = next(n for n in warmed if answers[n].dtype == np.float32)
    answers[name].flat[0] = np.nan
    with pytest.raises(UserError, match=f"{name}: an output is not finite"):
        verify(run, saved_model)


def test_verification_fails_on_what_the_session_loader_cannot_run(
    run: Path, saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"tf_serving_warmup_requests: no such file; expected a"):
        verify(run, tmp_path)
    monkeypatch.setattr(replay, "replays", lambda *_: [])
    shutil.copytree(saved_model, tmp_path / "1")
    (tmp_path / "1/saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(UserError, match="the session loader cannot run it"):
        verify(run, tmp_path / "1")


@pytest.mark.usefixtures("answers")
def test_verification_fails_on_weights_stored_twice(
    run: Path, saved_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(saved_model, tmp_path / "1")
    with (tmp_path / "1/variables/more.data-00000-of-00001").open("wb") as stream:
        stream.write(b"0" * 200_000)
    with pytest.raises(UserError, match=r"variables take .* bytes for weights of"):
        verify(run, tmp_path / "1")
