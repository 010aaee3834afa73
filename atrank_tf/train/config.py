"""The settings of a run from its flags, and from the JSON file that --config names."""

from typing import Any

from absl import flags

from atrank_tf.models import registry
from atrank_tf.train.settings import Settings
from data_pipeline.core import command_flags
from data_pipeline.core.errors import UserError
from data_pipeline.core.options import read_config
from data_pipeline.version import check_version

FLAGS = flags.FLAGS

# What the `settings.json` of a run holds beside settings.
_OF_THE_RUN = ("version", "data_dir", "data_fingerprint", "checksum")


def define_flags() -> None:
    """Defines the flags of the training command.

    Example:

    >>> from absl.testing import flagsaver
    >>> with flagsaver.flagsaver():  # Takes them back.
    ...     define_flags()
    ...     "num_spaces" in FLAGS
    True
    """
    command_flags.define_flag(
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
    flags.DEFINE_bool("verify", False, "Compare the whole data with its checksums first.")
    names = registry.model_names()
    command_flags.define_flags(
        Settings, leave_out=("model_settings", "look_ups", "sampling"), choices={"model": names}
    )
    for name, arguments in registry.arguments_by_name().items():
        first = next(iter(arguments.values()))
        is_common = len(arguments) > len(names) // 2
        models = "" if is_common else f" ({', '.join(arguments)})"
        other_defaults = ", ".join(
            f"{model} {argument.default}"
            for model, argument in arguments.items()
            if argument.default != first.default
        )
        others = f"; {other_defaults}" if other_defaults else ""
        meaning = f"{first.meaning.rstrip('.')}{models}{others}."
        command_flags.define_flag(
            name, first.kind, meaning, "Model", str(first.default), first.choices
        )


def run_settings() -> tuple[Settings, str]:
    """Returns the settings that flags and --config give, and the directory of the data.

    Raises:
        UserError: An option is unknown or out of range, a flag is of another model, or no data is
            named.

    Example:

    >>> from absl.testing import flagsaver
    >>> with flagsaver.flagsaver():
    ...     define_flags()
    ...     rest = FLAGS(["train", "--data_dir=data", "--model_dir=runs/1", "--num_spaces=8"])
    ...     settings, data_dir = run_settings()
    >>> settings.model, settings.model_settings, data_dir
    ('atrank', {'num_spaces': 8}, 'data')
    """
    config = _read_config() if FLAGS.config else {}
    data_dir = FLAGS.data_dir or config.get("data_dir")
    if not data_dir or not isinstance(data_dir, str):
        raise UserError("--data_dir is missing: prepared data; see python -m data_pipeline.prepare")
    values = {name: value for name, value in config.items() if name not in _OF_THE_RUN}
    settings = Settings(**{**values, **command_flags.read_flags(Settings)})
    arguments = registry.model_arguments(settings.model)
    from_flags: dict[str, Any] = {
        name: FLAGS[name].value
        for name in registry.arguments_by_name()
        if FLAGS[name].value is not None
    }
    for name in sorted(from_flags):
        if name not in arguments:
            raise UserError(f"--{name} is no setting of --model={settings.model}")
    is_of_file = settings.model == config.get("model", settings.model)
    from_file = settings.model_settings if is_of_file else {}
    return settings.replace(model_settings={**from_file, **from_flags}), data_dir


def _read_config() -> dict[str, Any]:
    """What --config names; that of a run of another version is refused."""
    config = read_config(FLAGS.config)
    if "version" in config or "data_fingerprint" in config:
        again = "give its settings as flags, which CHANGELOG.md lists by their old names"
        check_version(config.get("version"), FLAGS.config, again)
    return config
