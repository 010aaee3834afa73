r"""Trains on made-up logs whose rules are known: how near does a model come to what they allow?

Three logs, each of a habit:

    sessions    the object touched last is taken if it is shown, else any; half of the test's
                objects are unknown to training
    repeats     every target is one of the user's own few objects
    films       nobody takes anything twice

Example:
    python -m benchmarks.ceilings --output_dir=runs/ceilings
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from absl import flags

from data_pipeline.core import cli
from data_pipeline.schema import Group, Schema, Split

FLAGS = flags.FLAGS

_START, _DAY = 1_600_000_000, 86_400
_VALIDATION, _TEST = _START + 60 * _DAY, _START + 70 * _DAY
_SPLIT = Split("time", _VALIDATION, _TEST)

# Of the id among the group's own: what `OwnHistory` reads, too.
_COUNT, _GAP, _STEPS = 0, 1, 3


class Log(NamedTuple):
    """A made-up log.

    Attributes:
        write: Writes its tables into a directory, of so many users; returns the schema.
        rule: What scores candidates as well as the log allows: given the numbers of the id's
            look-up [candidates, numbers] and the popularity of each candidate.
    """

    write: Callable[[Path, int], Schema]
    rule: Callable[[np.ndarray, np.ndarray], np.ndarray]


def write_sessions(directory: Path, num_users: int, seed: int = 0) -> Schema:
    """Writes sessions: one to ten touches of a user, then a list of 25 of which one is clicked.

    The object touched last is in half of the lists, and then it is clicked; otherwise any is, the
    first ones rather. Test sessions are of 1000 objects that training knows and of 1000 others.

    Args:
        directory: Where `events.csv` and `shown.csv` are written.
        num_users: Users, each with one session.
        seed: Of the log.

    Example:

    >>> _ = write_sessions(tmp, num_users=50)
    >>> shown = pd.read_csv(tmp / "shown.csv")
    >>> len(shown), int(shown["label"].sum())
    (1250, 50)
    """
    random = np.random.default_rng(seed)
    times = _START + random.integers(0, 80 * _DAY, num_users)
    events: list[tuple[int, int, int]] = []
    shown: list[tuple[int, int, int, int]] = []
    by_position = 1 / np.arange(1, 26)
    for user, time in enumerate(times.tolist()):
        pool = 2000 if time >= _TEST else 1000
        touched = random.choice(pool, random.integers(1, 11), replace=False)
        events += [(user, int(o), time + 60 * i) for i, o in enumerate(touched)]
        listed = random.permutation(np.setdiff1d(random.choice(pool, 60, replace=False), touched))
        listed = listed[:25]
        chosen = int(random.choice(25, p=by_position / by_position.sum()))
        if random.random() < 0.5:
            chosen = int(random.integers(25))
            listed[chosen] = touched[-1]
        asked = time + 60 * len(touched)
        shown += [(user, int(o), asked, int(i == chosen)) for i, o in enumerate(listed)]
    names = ["user", "object", "time"]
    pd.DataFrame(events, columns=names).to_csv(directory / "events.csv", index=False)
    pd.DataFrame(shown, columns=[*names, "label"]).to_csv(directory / "shown.csv", index=False)
    group = Group("hotel", events="events.csv", impressions="shown.csv", id_type="int")
    return Schema((group,), ("hotel",), split=_SPLIT)


def write_repeats(directory: Path, num_users: int, seed: int = 0) -> Schema:
    """Writes habits: each user takes ten objects of 1000 again and again, some more often.

    Example:

    >>> write_repeats(tmp, num_users=5).target_names
    ('item',)
    """
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 11)
    rows = []
    for user in range(num_users):
        own = random.choice(1000, 10, replace=False)
        taken = [*own, *random.choice(own, 50, p=weights / weights.sum())]
        times = np.sort(_START + random.integers(0, 80 * _DAY, len(taken)))
        rows.append(pd.DataFrame({"user": user, "object": taken, "time": times}))
    pd.concat(rows).drop_duplicates().to_csv(directory / "events.csv", index=False)
    group = Group("item", events="events.csv", id_type="int", negatives="untaken")
    return Schema((group,), ("item",), split=_SPLIT)


def write_films(directory: Path, num_users: int, seed: int = 0) -> Schema:
    """Writes films: each user sees 60 of 200, the popular ones rather, and none twice.

    Negatives are whatever was not taken at that moment: many were seen before.

    Example:

    >>> write_films(tmp, num_users=5).groups[0].negatives
    'untaken'
    """
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(10, 210)
    rows = []
    for user in range(num_users):
        seen = random.choice(200, 60, replace=False, p=weights / weights.sum())
        times = np.sort(_START + random.choice(80 * _DAY, 60, replace=False))
        rows.append(pd.DataFrame({"user": user, "object": seen, "time": times}))
    pd.concat(rows).to_csv(directory / "events.csv", index=False)
    group = Group("film", events="events.csv", id_type="int", negatives="untaken")
    return Schema((group,), ("film",), split=_SPLIT)


LOGS = {
    # Whatever else is in the list is as good as any: the position is not known.
    "sessions": Log(write_sessions, lambda found, popularity: found[:, _STEPS] == 0),
    "repeats": Log(write_repeats, lambda found, popularity: found[:, _COUNT] + popularity / 1e9),
    "films": Log(write_films, lambda found, popularity: popularity * (found[:, _GAP] < 0)),
}


def measure(name: str, directory: Path, num_users: int, epochs: int) -> dict[str, Any]:
    """Writes a log, trains a model on it and measures both.

    Args:
        name: A key of `LOGS`.
        directory: Where everything is kept.
        num_users: Users of the log.
        epochs: Of training.

    Returns:
        Test AUC: `atrank`, `rule`; and of targets that training never saw `atrank_new`, `rule_new`,
        None where there are none.
    """
    from atrank_tf.train.loop import train
    from atrank_tf.train.settings import Settings
    from data_pipeline.prepare.pipeline import prepare

    directory.mkdir(parents=True, exist_ok=True)
    schema = LOGS[name].write(directory, num_users)
    data_dir = str(directory / "data")
    prepare(schema, data_dir, overwrite=True, base_dir=directory)
    train(data_dir, str(directory / "run"), Settings(epochs=epochs))
    return _aucs(name, data_dir, directory / "run")


def _aucs(name: str, data_dir: str, run: Path) -> dict[str, Any]:
    from atrank_tf.evaluate import slices
    from atrank_tf.evaluate.ranking_metrics import by_user, mean, per_positive
    from atrank_tf.evaluate.scoring import Scoring
    from atrank_tf.run_directory import RunDirectory
    from data_pipeline.batches.options import BatchOptions
    from data_pipeline.catalog import target_counts
    from data_pipeline.dataset import TimelineData

    data = TimelineData(data_dir)
    (target,) = data.schema.target_names
    counts = target_counts(data.catalog, data.schema, target)

    def facts(inputs: Any, target: str, schema: Schema) -> dict[str, np.ndarray]:
        known = slices.facts(inputs, target, schema)
        found = inputs["recurrence"][target].flat_values.numpy()
        return {**known, "rule": LOGS[name].rule(found, counts[known["object"]]).astype(float)}

    scoring = Scoring(RunDirectory(run).load_best(), data.batches("test", BatchOptions()), facts)
    scored = scoring.run()[target]
    trained = data.schema.group(target).num_oov + data.schema.group(target).num_trained
    aucs: dict[str, Any] = {}
    for model, logit in (("atrank", scored.logit), ("rule", scored.facts["rule"])):
        positives = per_positive(dataclasses.replace(scored, logit=logit))
        is_new = positives.facts["object"] >= trained
        is_new |= positives.facts["object"] < data.schema.group(target).num_oov
        aucs[model] = mean(by_user(positives), "auc")
        aucs[f"{model}_new"] = None
        if is_new.any():
            aucs[f"{model}_new"] = mean(by_user(positives.subset(is_new)), "auc")
    return aucs


def _main() -> None:
    output = Path(FLAGS.output_dir)
    results = {}
    for name in FLAGS.logs:
        results[name] = measure(name, output / name, FLAGS.users, FLAGS.epochs)
        (output / "ceilings.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print("| log | atrank | what its rule allows | of new objects | what its rule allows |")
    print("| --- | --- | --- | --- | --- |")
    for name, aucs in results.items():
        cells = [aucs[key] for key in ("atrank", "rule", "atrank_new", "rule_new")]
        print(f"| {name} | {' | '.join('-' if x is None else f'{x:.4f}' for x in cells)} |")
    print(f"wrote {output / 'ceilings.json'}")


def main() -> None:
    """Runs the command line."""
    flags.DEFINE_string("output_dir", "runs/ceilings", "Where to write.")
    flags.DEFINE_multi_enum("logs", list(LOGS), list(LOGS), "Which logs.")
    flags.DEFINE_integer("users", 4000, "Users of each log.", lower_bound=100)
    flags.DEFINE_integer("epochs", 3, "Of training.", lower_bound=1)
    cli.run(_main)


if __name__ == "__main__":
    main()
