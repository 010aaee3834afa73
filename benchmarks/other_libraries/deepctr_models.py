r"""Trains DeepCTR's DIN or BST on a protocol. Runs in an environment of requirements-deepctr.txt.

Model, loss, optimizer and training loop are DeepCTR's and Keras'; the rows are made here: each
event of the training period as a positive, with a negative drawn anew in every epoch. DeepCTR's
defaults are kept, but for embeddings 32 wide instead of 4, which is narrow for a catalogue.

Example:
    PYTHON_OF_THE_ENVIRONMENT benchmarks/other_libraries/deepctr_models.py --model=DIN \
      --protocol=FILE --output_dir=DIR
"""

import argparse
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import harness
import numpy as np

_CANDIDATES_A_BATCH = 512  # More would be what takes the most memory of all.

Inputs = dict[str, np.ndarray]


def build(options: argparse.Namespace, protocol: harness.Protocol) -> Any:
    """Returns the compiled Keras model."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # DeepCTR is written for Keras 2.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    with mock.patch("threading.Thread.start"):  # DeepCTR asks the net for newer versions.
        import deepctr.models
    from deepctr.feature_column import SparseFeat, VarLenSparseFeat

    tf.keras.utils.set_random_seed(options.seed)
    width, items = options.embedding_dim, protocol.num_items + 1
    history = SparseFeat("hist_item_id", items, width, embedding_name="item_id")
    genre = SparseFeat("genre", protocol.num_feature_values + 1, width)
    columns = [
        SparseFeat("item_id", items, width),
        VarLenSparseFeat(history, protocol.max_history, length_name="seq_length"),
        VarLenSparseFeat(genre, protocol.features().shape[1], "mean"),
    ]
    model = getattr(deepctr.models, options.model)(columns, ["item_id"], seed=options.seed)
    model.compile(tf.keras.optimizers.Adam(options.learning_rate), "binary_crossentropy")
    return model


class Rows:
    """Makes the model's inputs out of the protocol."""

    def __init__(self, options: argparse.Namespace, protocol: harness.Protocol) -> None:
        self._protocol, self._features = protocol, protocol.features()
        self._begin, self._end = harness.strictly_before(protocol.users, protocol.times)
        self._random = np.random.default_rng(options.seed)
        self.targets_a_batch = options.batch_size // 2
        self.batches_an_epoch = -(-len(protocol.users) // self.targets_a_batch)

    def _inputs(self, items: np.ndarray, histories: np.ndarray, lengths: np.ndarray) -> Inputs:
        return {
            "item_id": items[:, None].astype(np.int32),
            "genre": self._features[items].astype(np.int32),
            "hist_item_id": histories.astype(np.int32),
            "seq_length": lengths[:, None].astype(np.int32),
        }

    def training(self) -> Iterator[tuple[Inputs, np.ndarray]]:
        """Batches without end: positives and as many negatives, shuffled anew in every epoch."""
        protocol = self._protocol
        while True:
            negatives = protocol.negatives(protocol.users, self._random)
            order = self._random.permutation(len(protocol.users))
            for start in range(0, len(order), self.targets_a_batch):
                rows = order[start : start + self.targets_a_batch]
                histories, lengths = harness.windows(
                    protocol.items, self._begin[rows], self._end[rows], protocol.max_history
                )
                items = np.concatenate([protocol.items[rows], negatives[rows]])
                inputs = self._inputs(items, np.tile(histories, (2, 1)), np.tile(lengths, 2))
                yield inputs, np.repeat(np.float32([1, 0]), len(rows))

    def candidates(self, split: str) -> Iterator[Inputs]:
        """The candidates of a split, each with the history of its query."""
        candidates, query_of = self._protocol.candidates(split)
        for start in range(0, len(candidates), _CANDIDATES_A_BATCH):
            batch = slice(start, start + _CANDIDATES_A_BATCH)
            histories, lengths = self._protocol.histories(split, query_of[batch])
            yield self._inputs(candidates[batch], histories, lengths)


def train(options: argparse.Namespace) -> None:
    """Trains, scores and writes the results."""
    protocol = harness.Protocol(options.protocol, options.max_history)
    model = build(options, protocol)
    rows = Rows(options, protocol)

    def score(split: str) -> np.ndarray:
        batches = rows.candidates(split)
        return np.concatenate([model.predict_on_batch(inputs)[:, 0] for inputs in batches])

    recorder = harness.Recorder(options, protocol, len(protocol.users), score)

    def trained(batch: int, logs: Any) -> None:
        last = (batch + 1) % rows.batches_an_epoch == 0
        rest = len(protocol.users) - batch * rows.targets_a_batch
        model.stop_training = recorder.trained(rest if last else rows.targets_a_batch)

    import tensorflow as tf

    inputs = {tensor.name: tf.TensorSpec(tensor.shape, tf.int32) for tensor in model.inputs}
    signature = (inputs, tf.TensorSpec([None], tf.float32))
    batches = tf.data.Dataset.from_generator(rows.training, output_signature=signature)
    model.fit(
        batches.prefetch(2),
        steps_per_epoch=rows.batches_an_epoch,
        epochs=options.epochs,
        verbose=0,
        callbacks=[tf.keras.callbacks.LambdaCallback(on_train_batch_end=trained)],
    )
    names = ("batch_size", "learning_rate", "embedding_dim")
    settings = {key: getattr(options, key) for key in names}
    packages = ("deepctr", "tensorflow", "tf_keras", "numpy")
    recorder.write(f"DeepCTR {options.model}", packages, settings)


def main() -> None:
    """Runs the command line."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--model", choices=("DIN", "BST"), required=True)
    parser.add_argument("--batch_size", type=int, default=256, help="rows, half of them positives")
    parser.add_argument("--learning_rate", type=float, default=0.001)
    parser.add_argument("--embedding_dim", type=int, default=32, help="for BST a multiple of 8")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
