r"""Shows what a trained ATRank attends to: one user's history, and averages over many.

Example:
    python -m atrank_tf.attention --data_dir=data/mine --model_dir=runs/mine --user=1609
"""

from pathlib import Path

from absl import flags

from data_pipeline.core import cli

FLAGS = flags.FLAGS


def _main() -> None:
    from atrank_tf.attention import maps as attention_maps
    from atrank_tf.attention.plots import draw, to_tensorboard, write
    from atrank_tf.run_directory import RunDirectory

    run = RunDirectory(FLAGS.model_dir)
    print(f"averaging over {FLAGS.batches} batches of test moments", flush=True)
    seen, frame = attention_maps.from_run(run, FLAGS.data_dir, FLAGS.user, FLAGS.batches)
    figures = draw(seen, frame)
    directory = Path(FLAGS.output_dir or run.path / "attention")
    paths = write(figures, directory)
    frame.to_csv(directory / "averages.csv", index=False)
    to_tensorboard(figures, run.tensorboard)
    print(f"wrote {directory / 'averages.csv'}, {', '.join(map(str, paths))}")
    print(f"next: look at them, or at the images in tensorboard --logdir={run.tensorboard}")


def main() -> None:
    """Console script."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string("model_dir", None, "Run directory of an atrank model.", required=True)
    flags.DEFINE_string(
        "user", "", "Id of the user to show; by default one with a history that fills a picture."
    )
    flags.DEFINE_integer("batches", 30, "Batches of test moments to average.", lower_bound=1)
    flags.DEFINE_string("output_dir", "", "Where figures go; MODEL_DIR/attention by default.")
    cli.run(_main)


if __name__ == "__main__":
    main()
