r"""Shows what a trained ATRank attends to: one user's history, and averages over many.

Example:
    python -m atrank_tf.attention --data_dir=data/mine --model_dir=runs/mine --user=1609
"""

from pathlib import Path

from absl import flags

from data_pipeline.core import cli

FLAGS = flags.FLAGS


def _main() -> None:
    from atrank_tf.attention.maps import from_run
    from atrank_tf.attention.plots import write_report
    from atrank_tf.run_directory import RunDirectory

    run = RunDirectory(FLAGS.model_dir)
    directory = Path(FLAGS.output_dir or run.path / "attention")
    print(f"averaging over {FLAGS.batches} batches of test queries", flush=True)
    shown, frame = from_run(run, FLAGS.data_dir, FLAGS.user, FLAGS.batches)
    paths = write_report(shown, frame, directory, run.tensorboard)
    print(f"wrote {', '.join(map(str, paths))}")
    print(f"next: look at them, or at the images in tensorboard --logdir={run.tensorboard}")


def main() -> None:
    """Console script."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string("model_dir", None, "Run directory of an atrank model.", required=True)
    flags.DEFINE_string(
        "user", "", "Id of the user to show; by default one with a history that fills a picture."
    )
    flags.DEFINE_integer("batches", 30, "Batches of test queries to average.", lower_bound=1)
    flags.DEFINE_string("output_dir", "", "Where figures go; MODEL_DIR/attention by default.")
    cli.run(_main)


if __name__ == "__main__":
    main()
