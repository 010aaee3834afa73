"""A run directory: what one training run writes, and what reads it afterwards.

settings.json        the model and its settings, the data's fingerprint
state.json           where training stands: epochs and batches done, the best epoch, seconds
objects/             the known objects of each group, for export
checkpoints/         best.keras, and last-EPOCH-BATCH.keras, which training resumes from
tensorboard/         curves
metrics.json         written by evaluation
"""

import shutil
from pathlib import Path
from typing import Any

import keras

from atrank_tf.models import Ranker
from data_pipeline.core import durable, json_files
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.manifest import sha256
from data_pipeline.version import __version__, check_version

_AGAIN = "train again in another --model_dir"


class RunDirectory:
    """Reads and writes a run directory; every file is replaced as a whole or not at all.

    Args:
        path: The directory. It need not exist yet.

    Example:

    >>> run = RunDirectory(toy_run())
    >>> run.settings()["model"], run.training_cost()["epochs"]
    ('atrank', 1)
    >>> run.load_best().schema.target_names
    ('item', 'query')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._checkpoints = self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """Directory of the TensorBoard logs."""
        return self.path / "tensorboard"

    @property
    def objects(self) -> Path:
        """Directory of the tables of known objects, copied from the data."""
        return self.path / "objects"

    @property
    def is_begun(self) -> bool:
        """Whether anything was ever saved here."""
        return (self.path / "state.json").exists()

    def settings(self) -> dict[str, Any]:
        """Returns the settings of the run.

        Raises:
            UserError: Nothing was trained here.
        """
        path = self.path / "settings.json"
        if not path.exists():
            raise UserError(f"{self.path}: holds no trained model (no settings.json there)")
        settings = json_files.read(path)
        if not isinstance(settings, dict):
            raise UserError(f"{path}: holds no settings; {_AGAIN}")
        check_version(settings.get("version"), str(self.path), "train it again")
        return json_files.unsealed(settings, path, _AGAIN)

    def data(self, data_dir: str | Path = "") -> TimelineData:
        """Opens prepared data with the groups that the run reads and the targets it predicts.

        Args:
            data_dir: The data; "" for that which the run was trained on.

        Raises:
            UserError: Nothing was trained here, or there is no prepared data.
        """
        settings = self.settings()
        return TimelineData(
            data_dir or settings["data_dir"], settings["groups"], settings["targets"]
        )

    def begin(
        self, settings: dict[str, Any], fingerprint: str, objects: Path
    ) -> dict[str, Any] | None:
        """Starts a run, or goes on with the one that is there.

        Args:
            settings: Settings of the run.
            fingerprint: The data's.
            objects: The data's tables of known objects; the run keeps a copy.

        Returns:
            Where training stands, as `save` wrote it; None at the beginning.

        Raises:
            UserError: The directory holds a run with other settings or data.
        """
        settings = {**settings, "version": __version__, "data_fingerprint": fingerprint}
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        for partial in self._checkpoints.glob("partial-*"):  # Of a run that was killed.
            partial.unlink()
        if not self.is_begun:
            shutil.copytree(objects, self.objects, dirs_exist_ok=True)
            json_files.write(self.path / "settings.json", json_files.sealed(settings))
            return None
        json_files.check_same(
            self.settings(),
            settings,
            ("epochs", "patience", "data_dir", "version"),
            f"{self.path}: holds a run",
            "choose another --model_dir, or go on with its settings",
        )
        json_files.write(self.path / "settings.json", json_files.sealed(settings))
        return self._read_state()

    def save(self, model: Ranker, state: dict[str, Any], is_best: bool) -> None:
        """Saves the model, so that training can resume right there.

        Whenever the process is killed, `state.json` names a checkpoint that is whole.

        Args:
            model: The model, its optimizer state included.
            state: JSON values; `state["epoch"]` counts the epochs done, `state["batch"]`
                the batches of the next one.
            is_best: Whether it is the best model so far.
        """
        last = _last_name(state)
        checksums = dict((self._read_state() or {}).get("checksums", {}))
        for name in [last, "best.keras"] if is_best else [last]:
            partial = self._checkpoints / f"partial-{name}"
            model.save(partial)
            checksums["best" if name == "best.keras" else "last"] = sha256(partial)
            durable.replace(partial, self._checkpoints / name)
        seeds = [seed.numpy().tolist() for seed in _dropout_seeds(model)]
        state = {**state, "dropout_seeds": seeds, "checksums": checksums}
        json_files.write(self.path / "state.json", json_files.sealed(state))
        for old in self._checkpoints.glob("last-*.keras"):
            if old.name != last:
                old.unlink()

    def load_last(self) -> Ranker:
        """Loads the model that `save` wrote last, with its optimizer state."""
        state = self._read_state()
        assert state is not None
        model = self._load("last", _last_name(state), state)
        for seed, value in zip(_dropout_seeds(model), state["dropout_seeds"], strict=True):
            seed.assign(value)
        return model

    def load_best(self, fingerprint: str | None = None) -> Ranker:
        """Loads the best model.

        Args:
            fingerprint: The fingerprint of the data that it is to be used with; None for any.

        Raises:
            UserError: There is no checkpoint yet, or it was trained on other data.
        """
        trained_on = self.settings()["data_fingerprint"]
        if fingerprint is not None and fingerprint != trained_on:
            raise UserError(
                f"{self.path}: was trained on data with fingerprint {trained_on[:12]}, "
                f"not on this data ({fingerprint[:12]})"
            )
        path = self._checkpoints / "best.keras"
        if not path.exists():
            raise UserError(f"{self.path}: holds no checkpoint yet (no {path})")
        return self._load("best", path.name, self._read_state() or {})

    def training_cost(self) -> dict[str, Any]:
        """Returns what training took: epochs, seconds, and targets a second."""
        state = self._read_state() or {}
        seconds, targets = state.get("seconds", 0.0), state.get("targets_seen", 0)
        return {
            "epochs": state.get("epoch", 0),
            "best_epoch": state.get("best_epoch", 0),
            "seconds": seconds,
            "targets_per_second": targets / seconds if seconds else 0.0,
        }

    def _read_state(self) -> dict[str, Any] | None:
        path = self.path / "state.json"
        if not path.exists():
            return None
        return json_files.unsealed(json_files.read(path), path, _AGAIN)

    def _load(self, which: str, name: str, state: dict[str, Any]) -> Ranker:
        """Loads a checkpoint, if it is the one that was saved."""
        path = self._checkpoints / name
        if not path.exists():
            raise UserError(f"{path}: is missing; {_AGAIN}")
        saved = state.get("checksums", {}).get(which)
        if saved and sha256(path) != saved:
            raise UserError(f"{path}: is not the checkpoint that was saved there; {_AGAIN}")
        try:
            return keras.models.load_model(path)
        except Exception as error:  # Of a stranger's file many kinds; none of its code is run.
            raise UserError(
                f"{path}: cannot be loaded ({type(error).__name__}: {error})"
            ) from error


def _last_name(state: dict[str, Any]) -> str:
    return f"last-{state['epoch']}-{state['batch']}.keras"


def _dropout_seeds(model: Ranker) -> list[keras.Variable]:
    """The states of the model's random generators, which a `.keras` file does not hold."""
    weights = {id(weight) for weight in model.weights}
    return [v for v in model.non_trainable_variables if id(v) not in weights]
