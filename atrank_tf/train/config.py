"""The settings of a run from its flags, and from the JSON file that --config names."""

from typing import Any

from absl import flags

from atrank_tf.models import registry
from atrank_tf.train.settings import Settings
from data_pipeline.core import command_flags
from data_pipeline.core.errors import UserError
from data_pipeline.core.options import read_config

FLAGS = flags.FLAGS

# What `settings.json` of a run holds beside settings.
_OF_THE_RUN = ("version", "data_dir", "data_fingerprint")


def define_flags() -> None:
    """Defines the flags of the training command."""
    command_flags.define_one(
        "data_dir", "string", "Prepared data; by default that of --config.", "Data", ""
    )
    flags.DEFINE_string(
        "model_dir", None, "Run directory: checkpoints, curves, metrics.", required=True
    )
    flags.DEFINE_string(
        "config",
        None,
        "JSON file of settings, as settings.json of a run. Flags beat the file.",
    )
    names = registry.model_names()
    command_flags.define(Settings, leave_out=("model_settings",), choices={"model": names})
    for name, defaults in _model_arguments().items():
        argument = next(iter(defaults.values()))
        values = {str(other.default) for other in defaults.values()}
        default = str(argument.default)
        others = ", ".join(
            f"{model} {other.default}"
            for model, other in defaults.items()
            if other.default != argument.default
        )
        of = "" if len(defaults) > len(names) // 2 else f" ({', '.join(defaults)})"
        meaning = argument.meaning.rstrip(".") + of + (f"; {others}" if len(values) > 1 else "")
        command_flags.define_one(
            name, argument.kind, f"{meaning}.", "Model", default, argument.choices
        )


def run_settings() -> tuple[Settings, str]:
    """Returns the settings that flags and --config give, and the directory of the data.

    Raises:
        UserError: An option is unknown or out of range, a flag is of another model, or no data is
            named.
    """
    config = read_config(FLAGS.config) if FLAGS.config else {}
    data_dir = FLAGS.data_dir or config.get("data_dir")
    if not data_dir:
        raise UserError("--data_dir is missing: prepared data; see python -m data_pipeline.prepare")
    values = {name: value for name, value in config.items() if name not in _OF_THE_RUN}
    values |= command_flags.given(Settings)
    model = values.get("model", Settings().model)
    known = registry.model_arguments(model)
    chosen: dict[str, Any] = {
        name: FLAGS[name].value for name in _model_arguments() if FLAGS[name].value is not None
    }
    for name in sorted(chosen):
        if name not in known:
            raise UserError(f"--{name} is no setting of --model={model}")
    kept = values.get("model_settings", {}) if model == config.get("model", model) else {}
    values["model_settings"] = {**kept, **chosen}
    return Settings(**values), data_dir


def _model_arguments() -> dict[str, dict[str, registry.Argument]]:
    """The arguments of all models: by name, and by the model that has it."""
    arguments: dict[str, dict[str, registry.Argument]] = {}
    for model in registry.model_names():
        for name, argument in registry.model_arguments(model).items():
            arguments.setdefault(name, {})[model] = argument
    return arguments
