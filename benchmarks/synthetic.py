r"""Writes a log that follows a known rule, or says how well anyone could predict it.

Users buy products, and a purchase is at times followed by a coupon: the coupon of the
product's class in nine cases of ten, otherwise any coupon. What a user's coupons were says
nothing about the next: whoever reads coupons alone cannot know it, and whoever reads
purchases, too, can.

Example:
    python -m benchmarks.synthetic --output_dir=runs/synthetic/raw
    python -m data_pipeline.prepare --schema=runs/synthetic/raw/schema.json \
      --events=runs/synthetic/raw/events.csv --output_dir=runs/synthetic/data
    python -m benchmarks.synthetic --ceiling_of=runs/synthetic/data
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from absl import flags

from atrank_tf.evaluate import ranking_metrics
from data_pipeline import TimelineData
from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Columns, Group, Schema

FLAGS = flags.FLAGS

_CLASSES = 200
_PRODUCTS = 1000
_RULE = 0.9
_START = 1_600_000_000


def write(output_dir: str | Path, num_users: int = 4000, seed: int = 0) -> None:
    """Writes `events.csv` and `schema.json` into a directory.

    Args:
        output_dir: The directory.
        num_users: Users, each with 24 purchases and a coupon after a quarter of them.
        seed: Of the log.
    """
    random = np.random.default_rng(seed)
    shape = (num_users, 24)
    product = random.integers(0, _PRODUCTS, shape)
    time = _START + np.cumsum(random.integers(20_000, 600_000, shape), axis=1)
    follows = random.random(shape) < 0.25
    by_rule = random.random(shape) < _RULE
    coupon = np.where(by_rule, product % _CLASSES, random.integers(0, _CLASSES, shape))
    user = np.broadcast_to(np.arange(num_users)[:, np.newaxis], shape)
    kinds = {
        "product": (np.ones(shape, bool), product, time),
        "coupon": (follows, coupon, time + random.integers(60, 7200, shape)),
    }
    events = pd.concat(
        pd.DataFrame({"user": user[k], "group": name, "object": objects[k], "time": times[k]})
        for name, (k, objects, times) in kinds.items()
    )
    output = Path(output_dir)
    output.mkdir(parents=True, exist_ok=True)
    events.to_csv(output / "events.csv", index=False)
    schema = Schema(
        (Group("product", id_type="int"), Group("coupon", id_type="int")),
        ("coupon",),
        columns=Columns(group="group"),
    )
    schema.save(output)


def ceiling(data_dir: str | Path) -> dict[str, float]:
    """Returns the test AUC of a scorer that knows the rule: "value", "low" and "high".

    It ranks first what the user had before, since it is never drawn as a negative, then the
    coupon of the last purchase.
    """
    data = TimelineData(data_dir)
    if set(data.schema.target_names) != {"coupon"}:
        raise UserError(f"{data_dir}: holds no data of benchmarks.synthetic")
    ids = {}
    for group in data.schema.groups:
        table = pq.read_table(data.directory / "objects" / f"{group.name}.parquet")
        ids[group.name] = np.array([-1] * group.num_oov + table["object"].to_pylist())
    parts, num_queries = [], 0
    for inputs, labels in data.batches("test"):
        candidates = inputs["candidates"]["coupon"]
        bought = inputs["history"]["product"]
        last = [
            ids["product"][objects[np.argmax(times)]] % _CLASSES if len(times) else -1
            for objects, times in zip(
                bought["object"].to_list(), bought["time"].to_list(), strict=True
            )
        ]
        row = candidates.value_rowids().numpy()
        had = [set(objects) for objects in inputs["history"]["coupon"]["object"].to_list()]
        objects = candidates.flat_values.numpy()
        follows = ids["coupon"][objects] == np.array(last)[row]
        again = np.array([o in had[i] for i, o in zip(row, objects, strict=True)])
        parts.append(
            (inputs["user"].numpy()[row], row + num_queries, labels.numpy(), 2.0 * again + follows)
        )
        num_queries += len(last)
    scored = ranking_metrics.Scored(*map(np.concatenate, zip(*parts, strict=True)))  # type: ignore[arg-type]
    auc = ranking_metrics.summarize(ranking_metrics.per_user(scored))["auc"]
    assert isinstance(auc, dict)
    return auc


def _main() -> None:
    if FLAGS.ceiling_of:
        auc = ceiling(FLAGS.ceiling_of)
        print(
            f"test AUC of a scorer that knows the rule: {auc['value']:.4f} "
            f"({auc['low']:.4f} to {auc['high']:.4f})"
        )
        return
    if not FLAGS.output_dir:
        raise UserError("expected --output_dir, to write the log, or --ceiling_of")
    write(FLAGS.output_dir)
    print(f"wrote {FLAGS.output_dir}: events.csv, schema.json")
    print(
        f"next: python -m data_pipeline.prepare --schema={FLAGS.output_dir}/schema.json "
        f"--events={FLAGS.output_dir}/events.csv --output_dir=data/synthetic"
    )


def main() -> None:
    """Runs the command line."""
    flags.DEFINE_string("output_dir", "", "Where the log is written.")
    flags.DEFINE_string("ceiling_of", "", "Prepared data of such a log; prints its ceiling.")
    cli.run(_main)


if __name__ == "__main__":
    main()
