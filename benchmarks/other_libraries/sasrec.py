r"""Trains RecBole's SASRec on a protocol. Runs in an environment of requirements-recbole.txt.

Data set, model and training loop are RecBole's, with its settings for SASRec. What differs, so
that all libraries learn from the same and none is handicapped:

-   with `--histories=strict`, a target's history ends strictly before its second, as it does in
    evaluation; `--histories=recbole` leaves RecBole's own, which takes events of one second to
    be a sequence;
-   batches are of 128 targets, not 2048: in minutes on a CPU it learns more that way;
-   with `--loss=BPR`, negatives are items that the user never touched in training. RecBole's
    sampler for sequences only avoids the target.

Example:
    PYTHON_OF_THE_ENVIRONMENT benchmarks/other_libraries/sasrec.py --protocol=FILE \
      --output_dir=DIR
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from recbole.config import Config
from recbole.data.dataloader import TrainDataLoader
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender.sasrec import SASRec
from recbole.sampler import Sampler
from recbole.trainer import Trainer
from recbole.utils import init_seed

_QUERIES_A_BATCH = 512


class StrictDataset(SequentialDataset):
    """RecBole's data set, but for histories that end strictly before their target's second."""

    def data_augmentation(self) -> None:
        """Makes a row of each event that has a history, in RecBole's format."""
        self._aug_presets()
        self.sort(by=[self.uid_field, self.time_field])
        events = self.inter_feat
        begin, end = harness.strictly_before(
            events[self.uid_field].numpy(), events[self.time_field].numpy()
        )
        rows = np.flatnonzero(end > begin)
        histories, lengths = harness.windows(
            events[self.iid_field].numpy(), begin[rows], end[rows], self.max_item_list_len
        )
        self.inter_feat = events[rows]
        self.inter_feat.update(
            Interaction(
                {
                    self.item_list_length_field: torch.from_numpy(lengths),
                    self.item_id_list_field: torch.from_numpy(histories),
                }
            )
        )


class Paced:
    """RecBole's batches, that report to the recorder and end when training is over."""

    def __init__(self, loader: TrainDataLoader, recorder: harness.Recorder) -> None:
        self._loader, self._recorder = loader, recorder
        self.over = False

    def __iter__(self) -> Iterator[Interaction]:
        """One epoch, or what is left of the training."""
        for batch in self._loader:
            yield batch  # The trainer comes back when it has learnt from it.
            self.over = self._recorder.trained(len(batch))
            if self.over:
                return


def write_atomic_files(protocol: harness.Protocol, directory: Path) -> None:
    """Writes the training period in RecBole's format.

    RecBole holds times as 32-bit floats, in which Unix seconds lie 64 apart. The number of the
    user's earlier events keeps order and simultaneity, and is exact.
    """
    directory.mkdir(parents=True, exist_ok=True)
    begin, end = harness.strictly_before(protocol.users, protocol.times)
    events = np.stack([protocol.users, protocol.items, end - begin], axis=1)
    header = "user_id:token\titem_id:token\ttimestamp:float"
    path = directory / f"{directory.name}.inter"
    np.savetxt(path, events, "%d", delimiter="\t", header=header, comments="")
    # The whole catalogue, so that items first seen later have a row in the table.
    catalogue = np.arange(1, protocol.num_items + 1)
    path = directory / f"{directory.name}.item"
    np.savetxt(path, catalogue, "%d", header="item_id:token", comments="")


def configure(options: argparse.Namespace, output_dir: Path) -> Config:
    """RecBole's configuration; what is not named here keeps its default."""
    negatives = {"distribution": "uniform", "sample_num": 1} if options.loss == "BPR" else None
    settings: dict[str, Any] = {
        "data_path": str(output_dir / "recbole"),
        "checkpoint_dir": str(output_dir / "recbole" / "checkpoints"),
        "use_gpu": False,
        "seed": options.seed,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "TO", "group_by": None},
        "MAX_ITEM_LIST_LENGTH": options.max_history,
        "loss_type": options.loss,
        "train_neg_sample_args": negatives,
        "train_batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
    }
    del sys.argv[1:]  # RecBole would read them as settings of its own.
    return Config(model="SASRec", dataset="protocol", config_dict=settings)


def untouched(dataset: SequentialDataset, protocol: harness.Protocol) -> Sampler:
    """RecBole's sampler that avoids all that a user touched in the training period."""
    sampler = Sampler(["train"], [dataset]).set_phase("train")
    users = dataset.token2id(dataset.uid_field, protocol.users.astype(str))
    items = dataset.token2id(dataset.iid_field, protocol.items.astype(str))
    for user, item in zip(users, items, strict=True):  # A first event is nobody's target.
        sampler.used_ids[user].add(item)
    return sampler


def train(options: argparse.Namespace) -> None:
    """Trains, scores and writes the results."""
    protocol = harness.Protocol(options.protocol, options.max_history)
    output_dir = options.output_dir = options.output_dir.resolve()
    write_atomic_files(protocol, output_dir / "recbole" / "protocol")
    os.chdir(output_dir / "recbole")  # RecBole's trainer writes into the working directory.
    config = configure(options, output_dir)
    init_seed(options.seed, reproducibility=True)
    # Importing RecBole's models turns this on for good (in sine.py), and it slows every step.
    torch.autograd.set_detect_anomaly(False)
    dataset_class = StrictDataset if options.histories == "strict" else SequentialDataset
    dataset = dataset_class(config).build()[0]
    sampler = untouched(dataset, protocol) if options.loss == "BPR" else None
    loader = TrainDataLoader(config, dataset, sampler, shuffle=True)
    model = SASRec(config, loader.dataset).to(config["device"])
    trainer = Trainer(config, model)
    tokens = np.arange(1, protocol.num_items + 1).astype(str)
    rows = torch.from_numpy(np.append(0, dataset.token2id(dataset.iid_field, tokens)))

    @torch.no_grad()
    def score(split: str) -> np.ndarray:
        model.eval()
        candidates, query_of = protocol.candidates(split)
        scores = []
        for start in range(0, protocol.num_queries(split), _QUERIES_A_BATCH):
            queries = np.arange(start, min(start + _QUERIES_A_BATCH, protocol.num_queries(split)))
            histories, lengths = protocol.histories(split, queries)
            encoded = model(rows[histories], torch.from_numpy(lengths).clamp(min=1))
            first, last = np.searchsorted(query_of, [start, queries[-1] + 1])
            items = model.item_embedding(rows[candidates[first:last]])
            scores.append((encoded[query_of[first:last] - start] * items).sum(-1).numpy())
        model.train()
        return np.concatenate(scores)

    recorder = harness.Recorder(options, protocol, len(dataset), score)
    batches = Paced(loader, recorder)
    for epoch in range(options.epochs):
        trainer._train_epoch(batches, epoch)
        if batches.over:
            break
    names = ("n_layers", "n_heads", "hidden_size", "inner_size", "hidden_dropout_prob")
    settings = {key: config[key] for key in (*names, "attn_dropout_prob", "weight_decay")}
    for key in ("loss", "histories", "batch_size", "learning_rate"):
        settings[key] = getattr(options, key)
    recorder.write("RecBole SASRec", ("recbole", "torch", "numpy", "pandas"), settings)


def main() -> None:
    """Runs the command line."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--loss", choices=("CE", "BPR"), default="CE")
    parser.add_argument("--histories", choices=("strict", "recbole"), default="strict")
    # RecBole's own 2048 leaves few steps, and 5 GB of activations, to minutes on a CPU.
    parser.add_argument("--batch_size", type=int, default=128, help="targets a batch")
    parser.add_argument("--learning_rate", type=float, default=0.001)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
