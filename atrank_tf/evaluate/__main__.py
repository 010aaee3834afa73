r"""Measures trained models on held-out targets, all on the same candidates.

Example:
    python -m atrank_tf.evaluate --data_dir=data/mine --model_dir=runs/mine --baselines=runs/bpr
"""

from absl import flags

from data_pipeline.core import cli

FLAGS = flags.FLAGS


def _main() -> None:
    from atrank_tf.evaluate.evaluation import (
        evaluate,
        format_calibration,
        format_differences,
        format_table,
    )

    report = evaluate(
        FLAGS.data_dir, FLAGS.model_dir, FLAGS.baselines, FLAGS.split, FLAGS.negatives
    )
    print(format_table(report))
    if FLAGS.baselines:
        print(format_differences(report))
    print(format_calibration(report))
    print(f"wrote {FLAGS.model_dir}/metrics.json")
    print(
        f"next: python -m export.export_model --model_dir={FLAGS.model_dir} "
        f"--export_base={FLAGS.model_dir}/serving/atrank"
    )


def main() -> None:
    """Console script."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string("model_dir", None, "Run directory of the model.", required=True)
    flags.DEFINE_list(
        "baselines", [], "Run directories of models to compare with on the same candidates."
    )
    flags.DEFINE_enum("split", "test", ["test", "validation"], "Which targets.")
    flags.DEFINE_integer(
        "negatives", 99, "Negatives of each moment, where targets are not labelled.", lower_bound=1
    )
    cli.run(_main)


if __name__ == "__main__":
    main()
