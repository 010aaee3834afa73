r"""Trains a model on prepared data.

A run that was interrupted goes on where it was when started again with the same flags.

Example:
    python -m atrank_tf.train --data_dir=data/mine --model_dir=runs/mine
"""

from absl import flags

from atrank_tf import cli
from atrank_tf.errors import UserError
from atrank_tf.layers.behavior_encoder import TIMES
from atrank_tf.layers.latent_attention import SCORES
from atrank_tf.models.atrank import DOWNSTREAMS
from atrank_tf.settings import (
    LOSSES,
    MODELS,
    PRECISIONS,
    REST_RULES,
    TABLE_RULES,
    TRAININGS,
    Settings,
)
from atrank_tf.training import train

FLAGS = flags.FLAGS

_TOKENS = ("width", "embedding_width", "feature_width", "l2")
_MODEL_FLAGS = {
    "atrank": (
        *_TOKENS,
        "num_spaces",
        "num_blocks",
        "dropout",
        "scores",
        "time",
        "downstream",
    ),
    "bilstm": _TOKENS,
    "bilstm_attention": _TOKENS,
    "bpr": ("width", "l2"),
    "bst": (*_TOKENS, "dropout"),
    "cnn": _TOKENS,
    "din": _TOKENS,
    "last_object": (),
    "popularity": (),
    "sasrec": (*_TOKENS, "num_blocks", "dropout"),
}


def _main() -> None:
    given = {name for names in _MODEL_FLAGS.values() for name in names if FLAGS[name].present}
    for name in sorted(given):
        if name not in _MODEL_FLAGS[FLAGS.model]:
            raise UserError(f"--{name} is no setting of --model={FLAGS.model}")
    settings = Settings(
        model=FLAGS.model,
        model_settings={name: FLAGS[name].value for name in sorted(given)},
        training=FLAGS.training,
        groups=FLAGS.groups,
        targets=FLAGS.targets,
        single_target=FLAGS.single_target,
        target_weights=_weights(FLAGS.target_weights),
        loss=FLAGS.loss,
        epochs=FLAGS.epochs,
        patience=FLAGS.patience,
        max_seconds=FLAGS.max_seconds,
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
    if state["epoch"]:
        best = f"best after epoch {state['best_epoch']} of {state['epoch']}"
        print(f"wrote {FLAGS.model_dir}: {best}")
        print(f"curves: tensorboard --logdir={FLAGS.model_dir}/tensorboard")
    else:
        print(f"wrote {FLAGS.model_dir}: a model that has nothing to train")
    print(
        f"next: python -m atrank_tf.evaluate --data_dir={FLAGS.data_dir} "
        f"--model_dir={FLAGS.model_dir}"
    )


def _weights(given: list[str]) -> dict[str, float]:
    """Reads NAME=NUMBER, ..."""
    weights = {}
    for item in given:
        name, _, number = item.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise UserError(f"--target_weights {item!r}: expected NAME=NUMBER") from None
    return weights


def main() -> None:
    """Console script."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string(
        "model_dir", None, "Run directory: checkpoints, curves, metrics.", required=True
    )
    flags.DEFINE_enum("model", Settings.model, list(MODELS), "Which model.")
    flags.DEFINE_enum(
        "training",
        Settings.training,
        list(TRAININGS),
        "all_positions: one encoding of a stretch of a timeline trains all its targets (atrank in "
        "its causal form). moments: a history is encoded for each moment (the paper's form). "
        "auto: all_positions for the models that can, moments for the others.",
    )
    flags.DEFINE_list("groups", [], "Groups that are read; all by default.")
    flags.DEFINE_list(
        "targets",
        [],
        "Target groups that are predicted; by default all that are read. One group and one target: "
        "one2one; one target: all2one; all: all2all.",
    )
    flags.DEFINE_bool(
        "single_target", Settings.single_target, "Batches with candidates of one target group each."
    )
    flags.DEFINE_list(
        "target_weights",
        [],
        "Weights of target groups in the loss: NAME=NUMBER,...; 1 by default. They shift "
        "the weights that targets share.",
    )
    flags.DEFINE_enum(
        "loss",
        Settings.loss,
        ["auto", *LOSSES],
        "pointwise, or pair-wise: bpr or hinge. auto: bpr for the model bpr, else pointwise.",
    )
    flags.DEFINE_integer("epochs", Settings.epochs, "Epochs at most.")
    flags.DEFINE_integer(
        "patience", Settings.patience, "Stop after so many epochs without a better validation AUC."
    )
    flags.DEFINE_float(
        "max_seconds",
        Settings.max_seconds,
        "Stop after so many seconds of training, validation not counted; 0 for no bound.",
    )
    flags.DEFINE_float(
        "learning_rate",
        Settings.learning_rate,
        "Learning rate at the start; by default .004 for all_positions, .002 for moments.",
    )
    flags.DEFINE_float(
        "decay",
        Settings.decay,
        "What the learning rate is multiplied with in each epoch; 1 to let it stay.",
    )
    flags.DEFINE_enum(
        "tables",
        Settings.tables,
        list(TABLE_RULES),
        "How embedding tables are updated: adam keeps two numbers a weight, adagrad one a row.",
    )
    flags.DEFINE_enum("rest", Settings.rest, list(REST_RULES), "How all other weights are updated.")
    flags.DEFINE_float(
        "clip_norm", Settings.clip_norm, "Bound on the global norm of the gradients."
    )
    flags.DEFINE_integer(
        "token_budget",
        Settings.token_budget,
        "Behaviours and candidates in a batch, about; by default 3072 for all_positions, 8192 for "
        "moments.",
    )
    flags.DEFINE_integer(
        "max_history", Settings.max_history, "Newest behaviours of each group that are read."
    )
    flags.DEFINE_integer(
        "max_moments",
        Settings.max_moments,
        "Moments of each user in an epoch, chosen at random; 0 for all. For --training=moments, "
        "which is what auto becomes with it.",
    )
    flags.DEFINE_integer(
        "num_negatives", Settings.num_negatives, "Negatives sampled for each positive."
    )
    flags.DEFINE_enum(
        "precision",
        Settings.precision,
        list(PRECISIONS),
        "mixed_bfloat16 computes in bfloat16 and keeps weights in float32; for accelerators.",
    )
    flags.DEFINE_integer("seed", Settings.seed, "Of initial weights, dropout, order and negatives.")
    flags.DEFINE_integer("width", 64, "Width of tokens, or of factors (bpr).")
    flags.DEFINE_integer("num_spaces", 4, "Latent semantic spaces of atrank.")
    flags.DEFINE_integer("num_blocks", 1, "Self-attention blocks (atrank 1, sasrec 2).")
    flags.DEFINE_integer("embedding_width", 64, "Width of an object id's embedding.")
    flags.DEFINE_integer("feature_width", 16, "Width of a side feature's embedding.")
    flags.DEFINE_float(
        "dropout", 0.0, "Share of values dropped in training (sasrec: 0.2 by default)."
    )
    flags.DEFINE_float(
        "l2", 0.0, "Weight of the L2 penalty on the embeddings in use (bpr: 0.01 by default)."
    )
    flags.DEFINE_enum(
        "scores",
        "scaled_dot",
        list(SCORES),
        "How atrank's attention compares: scaled_dot (released code) or bilinear (paper).",
    )
    flags.DEFINE_enum(
        "time",
        "added",
        list(TIMES),
        "How the gap enters a behaviour in atrank's paper form (--training=moments).",
    )
    flags.DEFINE_enum(
        "downstream", "dot", list(DOWNSTREAMS), "What atrank makes of a candidate and what it read."
    )
    cli.run(_main)


if __name__ == "__main__":
    main()
