r"""Measures trained models on held-out targets, all on the same candidates.

Example:
    python -m atrank_tf.evaluate --data_dir=data/mine --model_dir=runs/mine --baselines=runs/bpr
"""

from absl import flags

from data_pipeline.core import cli

FLAGS = flags.FLAGS


def _main() -> None:
    from atrank_tf.evaluate import report
    from atrank_tf.evaluate.evaluation import evaluate

    metrics = evaluate(
        FLAGS.data_dir, FLAGS.model_dir, FLAGS.baselines, FLAGS.split, FLAGS.negatives
    )
    print(report.format_table(metrics))
    if FLAGS.baselines:
        print(report.format_differences(metrics))
    print(report.format_calibration(metrics))
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
        "negatives", 99, "Negatives of each query, where targets are not labelled.", lower_bound=1
    )
    cli.run(_main)


if __name__ == "__main__":
    main()
