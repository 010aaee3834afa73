"""Tables of what experiments measured."""

from typing import Any

import numpy as np
import pandas as pd

from atrank_tf.evaluate import ranking_metrics
from atrank_tf.evaluate.ranking_metrics import PerUser
from atrank_tf.experiment.runner import Results, Trial, averaged
from atrank_tf.models.registry import model_class

# Labels of entries that are compared, the first with the second.
Pairs = list[tuple[str, str]]


def metrics(measured: dict[str, list[Trial]], target: str) -> pd.DataFrame:
    """Returns a line of metrics for each entry.

    Args:
        measured: By label of an entry its trials.
        target: Name of the target.

    Example:

    >>> values = dict.fromkeys(ranking_metrics.NAMES, np.array([0.5, 1.0]))
    >>> users = PerUser(np.array([3, 8]), np.array([3, 1]), values)
    >>> trial = Trial(Path("runs/bpr/1"), {"item": users}, None, [], {})
    >>> metrics({"bpr": [trial]}, "item")[["model", "gauc", "users"]]
      model                       gauc  users
    0   bpr  0.6250 (0.5000 to 1.0000)      2
    """
    rows = []
    for label, trials in measured.items():
        summary: dict[str, Any] = ranking_metrics.summarize(averaged(trials, target))
        row: dict[str, Any] = {"model": label}
        for name in ranking_metrics.NAMES:
            row[name] = "-"
            if summary[name]:
                row[name] = ranking_metrics.format_interval(summary[name])
                if len(trials) > 1:
                    means = [ranking_metrics.mean(t.users[target], name) for t in trials]
                    row[name] += f" +- {np.std(means, ddof=1):.4f}"
        row["users"] = summary["users"]
        rows.append(row)
    return pd.DataFrame(rows)


def by_kind(measured: dict[str, list[Trial]], target: str) -> pd.DataFrame:
    """Returns what each entry reached of repeats, of new targets and of users without history.

    Args:
        measured: By label of an entry its trials.
        target: Name of the target.

    Returns:
        Means over users and trials; no line where all targets are of one kind.

    Example:

    >>> values = dict.fromkeys(ranking_metrics.NAMES, np.array([0.5, 1.0]))
    >>> users = PerUser(np.array([3, 8]), np.array([3, 1]), values)
    >>> trial = Trial(Path("runs/bpr/1"), {}, None, [], {}, {"item": {"new": users}})
    >>> by_kind({"bpr": [trial]}, "item")
      model new: AUC new: HR@10 new: NDCG@10
    0   bpr   0.7500     0.7500       0.7500
    """
    rows = []
    for label, trials in measured.items():
        row: dict[str, Any] = {"model": label}
        for kind in trials[0].kinds.get(target, {}):
            for name in ("auc", "hr@10", "ndcg@10"):
                means = [ranking_metrics.mean(t.kinds[target][kind], name) for t in trials]
                row[f"{kind}: {name.upper()}"] = f"{np.mean(means):.4f}"
        if len(row) > 1:
            rows.append(row)
    return pd.DataFrame(rows)


def differences(users: dict[str, PerUser], pairs: Pairs) -> pd.DataFrame:
    """Returns the paired difference of each pair of entries.

    Args:
        users: By label of an entry the metrics of each user.
        pairs: Which entries are compared.

    Example:

    >>> ids, positives = np.array([3, 8]), np.array([1, 1])
    >>> atrank = PerUser(ids, positives, {"auc": np.array([0.75, 1.0])})
    >>> bpr = PerUser(ids, positives, {"auc": np.array([0.5, 0.75])})
    >>> differences({"atrank": atrank, "bpr": bpr}, [("atrank", "bpr")])
        model against                AUC difference
    0  atrank     bpr  +0.2500 (+0.2500 to +0.2500)
    """
    rows = [
        {"model": label, "against": other, "AUC difference": _lead(users[label], users[other])}
        for label, other in pairs
    ]
    return pd.DataFrame(rows, columns=["model", "against", "AUC difference"])


def by_density(users: dict[str, PerUser], density: dict[str, np.ndarray]) -> pd.DataFrame:
    """Returns each entry's AUC in parts of the users.

    Args:
        users: By label of an entry the metrics of each user.
        density: What `density_parts` returned.

    Example:

    >>> users = PerUser(np.array([3, 8]), np.array([1, 1]), {"auc": np.array([0.5, 1.0])})
    >>> density = {"1 to 4": np.array([True, False]), "5 to 9": np.array([False, True])}
    >>> by_density({"bpr": users}, density)
      model  1 to 4  5 to 9
    0   bpr  0.5000  1.0000
    """
    rows = []
    for label, metrics_by_user in users.items():
        row: dict[str, Any] = {"model": label}
        for name, in_part in density.items():
            aucs = known_aucs(metrics_by_user, in_part)
            row[name] = f"{aucs.mean():.4f}" if len(aucs) else "-"
        rows.append(row)
    return pd.DataFrame(rows)


def leads_by_density(
    users: dict[str, PerUser], pairs: Pairs, density: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Returns the paired difference of each pair of entries in parts of the users.

    Args:
        users: By label of an entry the metrics of each user.
        pairs: Which entries are compared.
        density: What `density_parts` returned.

    Example:

    >>> ids, positives = np.array([3, 8]), np.array([1, 1])
    >>> atrank = PerUser(ids, positives, {"auc": np.array([0.75, 1.0])})
    >>> bpr = PerUser(ids, positives, {"auc": np.array([0.5, 0.75])})
    >>> density = {"1 to 4": np.array([True, False])}
    >>> leads_by_density({"atrank": atrank, "bpr": bpr}, [("atrank", "bpr")], density)
        model against                        1 to 4
    0  atrank     bpr  +0.2500 (+0.2500 to +0.2500)
    """
    rows = [
        {"model": label, "against": other}
        | {
            name: _lead(users[label].subset(in_part), users[other].subset(in_part))
            for name, in_part in density.items()
        }
        for label, other in pairs
    ]
    return pd.DataFrame(rows, columns=["model", "against", *density])


def costs(results: Results) -> pd.DataFrame:
    """Returns what each entry costs: what it reads, parameters, training, and scoring.

    Args:
        results: What `runner.run` returned, of entries that did not diverge.

    Example:

    >>> from atrank_tf.experiment.runner import Result
    >>> from atrank_tf.experiment.suites import single
    >>> schema, _ = toy_schema_and_catalog()
    >>> amounts = dict.fromkeys(("seconds", "targets_per_second", "scoring_microseconds"), 9.0)
    >>> trial = Trial(Path("runs/1"), {}, 0.7, [], {"parameters": 1234, **amounts})
    >>> costs({"atrank": Result(single(schema)[0], [trial])})[["parameters", "training"]]
      parameters training
    0      1,234      9 s
    """
    rows = []
    for label, (entry, trials) in results.items():
        mean = {name: float(np.mean([t.costs[name] for t in trials])) for name in trials[0].costs}
        aucs = [t.validation_auc for t in trials if t.validation_auc is not None]
        settings = entry.settings.completed()
        model = model_class(settings.model)
        rows.append(
            {
                "model": label,
                "learning rate": settings.learning_rate if model.is_trained else "-",
                "behaviors read": settings.max_history if model.reads_history else "-",
                "validation AUC": f"{np.mean(aucs):.4f}" if aucs else "-",
                "parameters": f"{mean['parameters']:,.0f}",
                "training": f"{mean['seconds']:.0f} s",
                "targets/s": f"{mean['targets_per_second']:,.0f}",
                "scoring a candidate": f"{mean['scoring_microseconds']:.1f} us",
            }
        )
    return pd.DataFrame(rows)


def density_parts(users: np.ndarray, lengths: dict[int, int]) -> dict[str, np.ndarray]:
    """Divides users into four parts of like size by their number of behaviors.

    Args:
        users: User indices, integers [users].
        lengths: What `runner.history_lengths` returned.

    Returns:
        By the name of a part, "LOW to HIGH", who is in it: bool [users]. Fewer than four where
        many users have the same number.

    Example:

    >>> list(density_parts(np.array([1, 2, 3, 4, 5]), {1: 2, 2: 5, 3: 9, 4: 30, 5: 80}))
    ['2 to 4', '5 to 8', '9 to 29', '30 to 80']
    """
    counts = np.array([lengths.get(int(user), 0) for user in users])
    bounds = np.unique(np.quantile(counts, [0, 0.25, 0.5, 0.75], method="lower"))
    part = np.searchsorted(bounds, counts, side="right") - 1
    ends = [*(bounds[1:] - 1), counts.max()]
    return {
        f"{low} to {high}": part == number
        for number, (low, high) in enumerate(zip(bounds, ends, strict=True))
    }


def known_aucs(metrics_by_user: PerUser, in_part: np.ndarray) -> np.ndarray:
    """Returns the AUCs of the users of a part who have one.

    Args:
        metrics_by_user: The metrics of each user.
        in_part: Who is in the part: bool [users].

    Example:

    >>> users = PerUser(np.array([3, 8]), np.array([1, 0]), {"auc": np.array([0.5, np.nan])})
    >>> known_aucs(users, np.array([True, True]))
    array([0.5])
    """
    aucs = metrics_by_user.means["auc"][in_part]
    return aucs[~np.isnan(aucs)]


def _lead(first: PerUser, second: PerUser) -> str:
    difference = ranking_metrics.difference(first, second)
    return ranking_metrics.format_interval(difference, "+") if difference else "-"
