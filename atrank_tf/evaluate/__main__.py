r"""Measures trained models on held-out targets, all on the same candidates.

Example:
    python -m atrank_tf.evaluate --data_dir=data/mine --model_dir=runs/mine --baselines=runs/bpr
"""

from typing import Literal

from absl import flags

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from data_pipeline.manifest import Manifest

FLAGS = flags.FLAGS


def _main() -> None:
    from atrank_tf.evaluate import report
    from atrank_tf.evaluate.evaluation import evaluate, file_name

    if FLAGS.slices:
        from atrank_tf.evaluate import figures  # Where there is no matplotlib, it ends here.
    if FLAGS.verify:
        Manifest.load(FLAGS.data_dir).verify(FLAGS.data_dir)
    metrics = evaluate(
        FLAGS.data_dir,
        FLAGS.model_dir,
        FLAGS.baselines,
        FLAGS.split,
        _negatives(FLAGS.negatives),
        FLAGS.sampling,
        FLAGS.slices,
        FLAGS.max_queries,
    )
    print(report.format_protocol(metrics["protocol"]))
    print(f"\n{report.format_table(metrics)}\n")
    for name in FLAGS.slices:
        print(f"{report.format_slices(metrics, name)}\n")
    for line in (report.format_differences(metrics), report.format_calibration(metrics)):
        if line:
            print(line)
    for caution in metrics["cautions"]:
        print(f"mind: {caution}")
    print(f"wrote {FLAGS.model_dir}/{file_name(metrics['protocol'])}")
    if FLAGS.slices:
        stem = file_name(metrics["protocol"]).replace("metrics", "slices", 1)
        prefix = stem.removesuffix(".json")
        for path in figures.write_slices(metrics, FLAGS.model_dir, prefix):
            print(f"wrote {path}")
    print(
        f"next: python -m export.export_model --model_dir={FLAGS.model_dir} "
        f"--export_base={FLAGS.model_dir}/serving/atrank"
    )


def _negatives(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--negatives is {text!r}: expected 1 or more, or all")
    return int(text)


def main() -> None:
    """Console script."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string("model_dir", None, "Run directory of the model.", required=True)
    flags.DEFINE_list(
        "baselines", [], "Run directories of models to compare with on the same candidates."
    )
    flags.DEFINE_enum("split", "test", ["test", "validation"], "Which targets.")
    flags.DEFINE_string(
        "negatives",
        "99",
        "Negatives of each query, where targets are not labelled; all for every object that was "
        "ever logged, which takes its time.",
    )
    flags.DEFINE_enum(
        "sampling",
        "uniform",
        ["uniform", "popularity"],
        "How negatives are drawn: each object alike, or by its number of training events.",
    )
    flags.DEFINE_integer(
        "max_queries",
        0,
        "Query times of each user, chosen at random; 0 for all. One is enough for a first look at "
        "a whole catalogue, which takes its time.",
        lower_bound=0,
    )
    flags.DEFINE_list(
        "slices",
        [],
        "Tables and figures of the targets divided by action, history (its length), hour (UTC), or "
        "a feature of the objects.",
    )
    flags.DEFINE_bool("verify", False, "Compare the whole data with its checksums first.")
    cli.run(_main)


if __name__ == "__main__":
    main()
