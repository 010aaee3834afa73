r"""Trains a model on prepared data.

A run that was interrupted goes on where it was when started again with the same flags.

Example:
    python -m atrank_tf.train --data_dir=data/mine --model_dir=runs/mine
    python -m atrank_tf.train --config=runs/mine/settings.json --seed=2 --model_dir=runs/again
"""

from absl import flags

from data_pipeline.core import cli

FLAGS = flags.FLAGS

_RENAMED = {
    "training": "--form=paper (was moments, of atrank), --rows=queries (was moments, of others), "
    "--rows=windows (was all_positions)",
    "token_budget": "--max_tokens",
    "max_moments": "--max_queries, with --form=paper for atrank's form of the paper",
}


def _main() -> None:
    from atrank_tf.train.config import run_settings
    from atrank_tf.train.loop import train
    from data_pipeline.manifest import Manifest

    settings, data_dir = run_settings()
    if FLAGS.verify:
        Manifest.load(data_dir).verify(data_dir)
    state = train(data_dir, FLAGS.model_dir, settings)
    if state["epoch"]:
        best = f"best after epoch {state['best_epoch']} of {state['epoch']}"
        print(f"wrote {FLAGS.model_dir}: {best}")
        print(f"curves: tensorboard --logdir={FLAGS.model_dir}/tensorboard")
    else:
        print(f"wrote {FLAGS.model_dir}: a model that has nothing to train")
    print(f"next: python -m atrank_tf.evaluate --data_dir={data_dir} --model_dir={FLAGS.model_dir}")


def main() -> None:
    """Console script."""
    cli.import_tensorflow_quietly()  # The models say which arguments they have.
    from atrank_tf.train.config import define_flags

    define_flags()
    cli.run(_main, _RENAMED)


if __name__ == "__main__":
    main()
