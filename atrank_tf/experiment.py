r"""Runs the paper's experiments on prepared data and writes a report.

Models are trained over seeds with the same budget and measured on the same candidates. What
was interrupted goes on where it was when started again with the same flags.

Example:
    python -m atrank_tf.experiment --suite=single --data_dir=runs/ml-100k/data \
      --output_dir=runs/ml-100k/single --fast
"""

import dataclasses
import sys
from pathlib import Path

from absl import flags

from atrank_tf import cli, experiments
from atrank_tf.errors import UserError
from data_pipeline.dataset import TimelineData

FLAGS = flags.FLAGS


def _main() -> None:
    from atrank_tf import experiment_report  # Where there is no matplotlib, it ends here.

    budget = experiments.FAST if FLAGS.fast else experiments.FULL
    names = [field.name for field in dataclasses.fields(budget)]
    given = {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
    if "learning_rates" in given:
        given["learning_rates"] = tuple(map(_rate, given["learning_rates"]))
    budget = dataclasses.replace(budget, **given)
    output = Path(FLAGS.output_dir)
    results = experiments.run(FLAGS.suite, FLAGS.data_dir, FLAGS.output_dir, budget, FLAGS.targets)
    first = next(iter(results.values()))[0].settings
    data = TimelineData(FLAGS.data_dir, first.groups, first.targets)
    lengths = experiments.history_lengths(data, 100_000)
    parts = experiment_report.sections(FLAGS.suite, results, lengths, budget, output)
    experiment_report.write(parts, output)  # Whatever becomes of the pictures.
    try:
        parts += experiment_report.attention(results, FLAGS.data_dir, output)
    except UserError as error:
        print(f"-- no pictures of attention: {error}", file=sys.stderr)
    paths = experiment_report.write(parts, output)
    print(experiment_report.markdown(parts))
    print(f"wrote {', '.join(map(str, paths))}")
    print(f"next: open {paths[0]} in a browser")


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--learning_rates {text!r}: expected numbers") from None


def main() -> None:
    """Console script."""
    flags.DEFINE_enum(
        "suite",
        "single",
        list(experiments.SUITES),
        "single: every model in one2one; multi: one2one, all2one and all2all; density: by the "
        "length of histories; ablation: ATRank with one thing changed at a time.",
    )
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string("output_dir", None, "Where runs and the report go.", required=True)
    flags.DEFINE_bool(
        "fast",
        False,
        f"One seed, {experiments.FAST.seconds:.0f} s of training a model at its default rate, "
        "instead of "
        f"{experiments.FULL.seeds} seeds, {experiments.FULL.seconds:.0f} s and a choice of "
        f"{len(experiments.FULL.learning_rates)} learning rates.",
    )
    flags.DEFINE_list(
        "targets",
        [],
        "Groups to predict; all targets of the data by default. single and density predict one "
        "alone, the first in the schema.",
    )
    flags.DEFINE_integer("seeds", None, "Trainings of each model.", lower_bound=1)
    flags.DEFINE_float("seconds", None, "Seconds of each training.", lower_bound=0.1)
    flags.DEFINE_list(
        "learning_rates",
        None,
        "Learning rates to try with each model, each for half of --seconds; a single one is taken "
        "as it is, and with an empty list each model's default.",
    )
    flags.DEFINE_integer(
        "negatives",
        None,
        "Negatives of each test moment; 99 by default, and always in validation.",
        lower_bound=1,
    )
    cli.run(_main)


if __name__ == "__main__":
    main()
