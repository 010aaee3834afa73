r"""Runs the paper's experiments on prepared data and writes a report.

Models are trained over seeds with the same budget and measured on the same candidates. What
was interrupted goes on where it was when started again with the same flags.

Example:
    python -m atrank_tf.experiment --suite=single --data_dir=runs/ml-100k/data \
      --output_dir=runs/ml-100k/single --fast
"""

from absl import flags

from data_pipeline.core import cli, command_flags
from data_pipeline.core.errors import UserError

FLAGS = flags.FLAGS


def _main() -> None:
    from atrank_tf.experiment import page, report  # Where there is no matplotlib, it ends here.
    from atrank_tf.experiment.runner import run
    from atrank_tf.experiment.suites import FAST, FULL, Budget

    changes = command_flags.read_flags(Budget)
    if "learning_rates" in changes:
        changes["learning_rates"] = [_rate(text) for text in changes["learning_rates"]]
    budget = (FAST if FLAGS.fast else FULL).replace(**changes)
    results = run(FLAGS.suite, FLAGS.data_dir, FLAGS.output_dir, budget, FLAGS.targets)
    sections, paths = report.write_report(
        FLAGS.suite, results, budget, FLAGS.data_dir, FLAGS.output_dir
    )
    print(page.format_markdown(sections))
    print(f"wrote {', '.join(map(str, paths))}")
    print(f"next: open {paths[0]} in a browser")


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--learning_rates {text!r}: expected numbers") from None


def main() -> None:
    """Console script."""
    cli.import_tensorflow_quietly()  # The suites are of models.
    from atrank_tf.experiment.suites import FAST, FULL, SUITES, Budget

    flags.DEFINE_enum(
        "suite",
        "single",
        list(SUITES),
        "single: every model in one2one; multi: one2one, all2one and all2all; density: by the "
        "length of histories; ablation: ATRank with one thing changed at a time.",
    )
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string("output_dir", None, "Where runs and the report go.", required=True)
    flags.DEFINE_list(
        "targets",
        [],
        "Groups to predict; all targets of the data by default. single and density predict one "
        "alone, the first in the schema.",
    )
    flags.DEFINE_bool(
        "fast",
        False,
        f"A smaller budget: {FAST.seeds} seed, {FAST.seconds:.0f} s of training a model at its "
        f"default rate. Otherwise {FULL.seeds} seeds, {FULL.seconds:.0f} s and a choice of "
        f"{len(FULL.learning_rates)} learning rates.",
    )
    command_flags.define_flags(Budget)
    cli.run(_main)


if __name__ == "__main__":
    main()
