r"""Trains a model on prepared data.

A run that was interrupted goes on where it was when started again with the same flags.

Example:
    python -m atrank_tf.train --data_dir=data/mine --model_dir=runs/mine
"""

from absl import flags

from atrank_tf import cli

FLAGS = flags.FLAGS

_MODEL_FLAGS = {
    "atrank": (
        "width",
        "num_spaces",
        "num_blocks",
        "embedding_width",
        "feature_width",
        "dropout",
        "l2",
    ),
    "bpr": ("width", "l2"),
    "popularity": (),
}


def _main() -> None:
    from atrank_tf.errors import UserError
    from atrank_tf.training import Settings, train

    given = {name for names in _MODEL_FLAGS.values() for name in names if FLAGS[name].present}
    for name in sorted(given):
        if name not in _MODEL_FLAGS[FLAGS.model]:
            raise UserError(f"--{name} is no setting of --model={FLAGS.model}")
    settings = Settings(
        model=FLAGS.model,
        model_settings={name: FLAGS[name].value for name in sorted(given)},
        training=FLAGS.training,
        epochs=FLAGS.epochs,
        patience=FLAGS.patience,
        learning_rate=FLAGS.learning_rate,
        decay=FLAGS.decay,
        tables=FLAGS.tables,
        rest=FLAGS.rest,
        clip_norm=FLAGS.clip_norm,
        token_budget=FLAGS.token_budget,
        max_history=FLAGS.max_history,
        max_moments=FLAGS.max_moments,
        num_negatives=FLAGS.num_negatives,
        precision=FLAGS.precision,
        seed=FLAGS.seed,
    )
    state = train(FLAGS.data_dir, FLAGS.model_dir, settings)
    print(f"wrote {FLAGS.model_dir}: best after epoch {state['best_epoch']} of {state['epoch']}")
    print(f"curves: tensorboard --logdir={FLAGS.model_dir}/tensorboard")
    print(
        f"next: python -m atrank_tf.evaluate --data_dir={FLAGS.data_dir} "
        f"--model_dir={FLAGS.model_dir}"
    )


def main() -> None:
    """Console script."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string(
        "model_dir", None, "Run directory: checkpoints, curves, metrics.", required=True
    )
    flags.DEFINE_enum("model", "atrank", list(_MODEL_FLAGS), "Which model.")
    flags.DEFINE_enum(
        "training",
        "all_positions",
        ["all_positions", "moments"],
        "all_positions: one encoding of a stretch of a timeline trains all its targets (atrank in "
        "its causal form). moments: a history is encoded for each moment (the paper's form).",
    )
    flags.DEFINE_integer("epochs", 16, "Epochs at most.")
    flags.DEFINE_integer(
        "patience", 4, "Stop after so many epochs without a better validation AUC."
    )
    flags.DEFINE_float("learning_rate", 0.003, "Learning rate at the start.")
    flags.DEFINE_float(
        "decay", 0.9, "What the learning rate is multiplied with in each epoch; 1 to let it stay."
    )
    flags.DEFINE_enum(
        "tables",
        "adam",
        ["adam", "adagrad", "sgd"],
        "How embedding tables are updated: adam keeps two numbers a weight, adagrad one a row.",
    )
    flags.DEFINE_enum("rest", "adam", ["adam", "sgd"], "How all other weights are updated.")
    flags.DEFINE_float("clip_norm", 5.0, "Bound on the global norm of the gradients.")
    flags.DEFINE_integer("token_budget", 3072, "Behaviours and candidates in a batch, about.")
    flags.DEFINE_integer("max_history", 100, "Newest behaviours of each group that are read.")
    flags.DEFINE_integer(
        "max_moments",
        0,
        "Moments of each user in an epoch, chosen at random; 0 for all. For --training=moments.",
    )
    flags.DEFINE_integer("num_negatives", 1, "Negatives sampled for each positive.")
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "mixed_bfloat16"],
        "mixed_bfloat16 computes in bfloat16 and keeps weights in float32; for accelerators.",
    )
    flags.DEFINE_integer("seed", 1, "Of initial weights, dropout, order and negatives.")
    flags.DEFINE_integer("width", 128, "Overall width of atrank; factors of bpr (64 there).")
    flags.DEFINE_integer("num_spaces", 8, "Latent semantic spaces of atrank.")
    flags.DEFINE_integer("num_blocks", 1, "Self-attention blocks of atrank.")
    flags.DEFINE_integer("embedding_width", 64, "Width of an object id's embedding in atrank.")
    flags.DEFINE_integer("feature_width", 16, "Width of a side feature's embedding in atrank.")
    flags.DEFINE_float("dropout", 0.0, "Share of values dropped in training atrank.")
    flags.DEFINE_float(
        "l2", 0.0, "Weight of the L2 penalty on the embeddings in use (bpr: 0.01 by default)."
    )
    cli.run(_main)


if __name__ == "__main__":
    main()
