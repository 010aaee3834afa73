"""Says in tables and figures what the benchmarks measured."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

Result = dict[str, Any]


def text(results: dict[str, Any]) -> str:
    """Returns the tables, in Markdown."""
    makers = {
        "forms": (_forms, _sooner),
        "profile": (_fixed, _profile),
        "steps": (_steps,),
        "pipeline": (_pipeline,),
        "other_libraries": (_other_libraries,),
        "serving": (_signatures, _many_against_rows, _endpoint),
    }
    tables = [make(results) for name in makers if name in results for make in makers[name]]
    return "\n\n".join(tables)


def seconds_to(curve: list[Result], auc: float) -> float | None:
    """Returns after how many seconds of training a validation AUC was reached first.

    Between two points the AUC is taken to rise evenly with the logarithm of the time.
    """
    before = None
    for point in curve:
        if point["validation_auc"] >= auc:
            if before is None:
                return point["seconds"]
            rise = point["validation_auc"] - before["validation_auc"]
            share = (auc - before["validation_auc"]) / rise
            return before["seconds"] * (point["seconds"] / before["seconds"]) ** share
        before = point
    return None


def seconds_to_best(curve: list[Result]) -> float:
    """Returns after how many seconds a curve came within .001 of its best validation AUC.

    What is left is noise, which would flatter whoever is compared with a curve's very end.
    """
    seconds = seconds_to(curve, best(curve)["validation_auc"] - 0.001)
    assert seconds is not None
    return seconds


def best(curve: list[Result]) -> Result:
    """Returns the point with the best validation AUC."""
    return max(curve, key=lambda point: point["validation_auc"])


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _forms(results: dict[str, Any]) -> str:
    naive = {r["max_history"]: r for r in results["forms"] if r["form"] == "naive"}
    rows = []
    for r in results["forms"]:
        naive_rate = naive[r["max_history"]]["targets_per_second"]
        peak = r["matmul_peak_flops"]["2048"]
        top = best(r["curve"])
        rows.append(
            [
                r["form"],
                _history(r),
                r["seed"],
                f"{r['targets_per_second']:,.0f}",
                f"{r['targets_per_second'] / naive_rate:.1f}",
                f"{r['useful_token_share']:.0%}",
                f"{r['flops'] / 1e9:.0f} of {peak / 1e9:.0f} ({r['flops'] / peak:.0%})",
                f"{r['seconds_to_first_step']:.1f} s",
                "-" if r["form"] == "naive" else f"{r['scoring_seconds']:.1f} s",
                f"{top['validation_auc']:.4f} / {top['test_auc']:.4f}, {top['seconds']:.0f} s",
                f"{r['peak_memory_bytes'] / 2**30:.2f} GiB",
            ]
        )
    return _table(
        [
            "form",
            "history",
            "seed",
            "targets/s",
            "times naive's",
            "useful tokens",
            "GFLOP/s of a matrix product's",
            "first step",
            "scoring the test users",
            "best AUC: validation / test, at",
            "peak memory, scoring included",
        ],
        rows,
    )


def _signatures(results: dict[str, Any]) -> str:
    head = ["signature", "history", "candidates", "batch"]
    by_shape: dict[tuple, dict[str, Result]] = {}
    for r in results["serving"]["signatures"]:
        by_shape.setdefault(tuple(r[key] for key in head), {})[r["model"]] = r
    rows = []
    for (signature, *shape), models in sorted(by_shape.items()):
        row: list[object] = [f"`{signature}`", *(f"{number:,}" for number in shape)]
        for name in ("atrank", "bilstm"):
            r = models.get(name)
            row.append(f"{r['p50']:.1f}, {r['p95']:.1f}, {r['p99']:.1f}" if r else "")
            row.append(f"{r['candidates_per_second']:,.0f}" if r else "")
        rows.append(row)
    for name in ("atrank", "bilstm"):
        head += [f"{name}: p50, p95, p99 in ms", "candidates/s"]
    return _table(head, rows)


def _many_against_rows(results: dict[str, Any]) -> str:
    r = results["serving"]["many"]
    once, rows = r["score_candidates"], r["score"]
    least = r["encode"] + r["products_at_peak"]
    return (
        f"500 candidates, history of 100: {once:.1f} ms by `score_candidates`, {rows:.1f} ms as "
        f"500 rows, {rows / once:.1f} times as long. `encode` takes {r['encode']:.1f} ms, and the "
        f"candidates' matrix products at {r['matmul_peak_flops'] / 1e9:.0f} GFLOP/s "
        f"{r['products_at_peak']:.1f} ms: {once / least:.1f} times that."
    )


def _endpoint(results: dict[str, Any]) -> str:
    head = ["history", "candidates", "session, p50", "gRPC, p50", "REST, p50"]
    rows = [
        [r["history"], f"{r['candidates']:,}"]
        + [f"{r[way]:.1f} ms" for way in ("session", "grpc", "rest")]
        for r in results["serving"]["endpoint"]
    ]
    return _table(head, rows)


def _history(form: Result) -> str:
    return str(form["max_history"]) if form["max_history"] < 10**6 else "all"


def _sooner(results: dict[str, Any]) -> str:
    """When each form reached the best AUC of each naive one, and how many times sooner.

    Forms that were measured only at the start and the end are left out.
    """
    rows = []
    for naive in (r for r in results["forms"] if r["form"] == "naive"):
        top, naive_seconds = best(naive["curve"]), seconds_to_best(naive["curve"])
        rising = ", still rising" if top is naive["curve"][-1] else ""
        for r in results["forms"]:
            reached = seconds_to(r["curve"], top["validation_auc"])
            if r["form"] == "naive" or len(r["curve"]) <= 2:
                continue
            rows.append(
                [
                    _history(naive),
                    f"{top['validation_auc']:.4f}, {naive_seconds:.0f} s{rising}",
                    f"{r['form']}, {_history(r)}",
                    r["seed"],
                    "not reached" if reached is None else f"{reached:.1f} s",
                    "-" if reached is None else f"{naive_seconds / reached:.1f}",
                ]
            )
    return _table(
        [
            "naive's history",
            "its best validation AUC, after",
            "form, history",
            "seed",
            "reached it after",
            "times sooner",
        ],
        rows,
    )


def _fixed(results: dict[str, Any]) -> str:
    profile = results["profile"]
    rows = [
        [
            f"{size['max_tokens']:,}",
            f"{size['targets']:.0f}",
            f"{1e3 * size['seconds']:.1f} ms",
            f"{profile['fixed_seconds'] / size['seconds']:.0%}",
        ]
        for size in profile["sizes"]
    ]
    fit = (
        f"A step takes {1e3 * profile['fixed_seconds']:.1f} ms, whatever its size, "
        f"and {1e6 * profile['seconds_a_target']:.0f} microseconds a target."
    )
    head = ["token budget", "targets", "step", "of which the same for any size"]
    return f"{_table(head, rows)}\n\n{fit}"


def _profile(results: dict[str, Any]) -> str:
    tables = []
    for head, shares in (
        ("part of a step", results["profile"]["parts"]),
        ("kind of operation", results["profile"]["kinds"]),
    ):
        total = sum(share["milliseconds"] for share in shares)
        shown = shares[:12]
        rest = {
            "name": "all others",
            "milliseconds": sum(share["milliseconds"] for share in shares[12:]),
        }
        rows = [
            [
                share["name"],
                f"{share['milliseconds']:.2f} ms",
                f"{share['milliseconds'] / total:.0%}",
            ]
            for share in (*shown, rest)
            if share["milliseconds"]
        ]
        tables.append(_table([head, "sum of its operations' times", "share"], rows))
    return "\n\n".join(tables)


def _steps(results: dict[str, Any]) -> str:
    base = {}  # type: ignore[var-annotated]
    rows = []
    for r in results["steps"]:
        first = base.setdefault((r["vary"], r["tables"]), r["median_seconds"])
        rows.append(
            [
                r["vary"],
                f"{r['value']:,}",
                r["tables"],
                f"{1e3 * r['median_seconds']:.1f} ms "
                f"({1e3 * r['low_seconds']:.1f} to {1e3 * r['high_seconds']:.1f})",
                f"{r['median_seconds'] / first:.2f}",
                f"{r['peak_memory_bytes'] / 2**30:.2f} GiB",
            ]
        )
    return _table(
        ["varied", "value", "tables", "step (10% to 90%)", "times the first", "peak memory"], rows
    )


def _pipeline(results: dict[str, Any]) -> str:
    rows = [
        [r["training"], f"{r['pipeline']:,.0f}", f"{r['trained']:,.0f}", f"{r['ratio']:.1f}"]
        for r in results["pipeline"]
    ]
    return _table(["training", "pipeline alone, targets/s", "training, targets/s", "ratio"], rows)


def _other_libraries(results: dict[str, Any]) -> str:
    causal = [r for r in results.get("forms", []) if r["form"] == "causal"]
    rows = []
    for r in results["other_libraries"]:
        top = best(r["curve"])
        reached = [seconds_to(c["curve"], top["validation_auc"]) for c in causal]
        times = [seconds for seconds in reached if seconds is not None]
        rate = np.mean([c["targets_per_second"] for c in causal] or [0])
        rows.append(
            [
                r["name"],
                f"{r['targets_per_second']:,.0f}",
                f"{top['validation_auc']:.4f} / {top['test_auc']:.4f}, {top['seconds']:.0f} s",
                f"{rate / r['targets_per_second']:.1f}" if causal else "-",
                f"{seconds_to_best(r['curve']) / np.mean(times):.1f}"
                if causal and len(times) == len(causal)
                else "-",
                f"{r['peak_rss_bytes'] / 2**30:.2f} GiB",
            ]
        )
    return _table(
        [
            "other library",
            "targets/s",
            "best AUC: validation / test, at",
            "causal: times its targets/s",
            "times sooner at its best AUC",
            "peak memory, scoring included",
        ],
        rows,
    )


def draw(results: dict[str, Any], directory: Path) -> list[Path]:
    """Draws the figures into a directory and returns their paths."""
    import matplotlib as mpl

    mpl.use("svg")
    paths = []
    if "forms" in results:
        paths.append(directory / "time_to_auc.svg")
        _draw_curves(results["forms"], results.get("other_libraries", []), paths[-1])
    if "steps" in results:
        paths.append(directory / "step_time.svg")
        _draw_steps(results["steps"], paths[-1])
    return paths


def _draw_curves(forms: list[Result], other_libraries: list[Result], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    curves: dict[str, list[list[Result]]] = {}
    for r in forms:
        if r["max_history"] < 10**6:
            curves.setdefault(r["form"], []).append(r["curve"])
    for r in other_libraries:
        curves.setdefault(r["name"], []).append(r["curve"])
    for name, of_seeds in curves.items():
        points = range(min(map(len, of_seeds)))
        x = np.mean([[curve[i]["seconds"] for i in points] for curve in of_seeds], axis=0)
        y = np.array([[curve[i]["validation_auc"] for i in points] for curve in of_seeds])
        spread = y.std(axis=0) if len(of_seeds) > 1 else None
        axes.errorbar(x, y.mean(axis=0), spread, marker=".", capsize=2, label=name)
    axes.set(
        xscale="log",
        xlabel="seconds of training",
        ylabel="validation AUC, 99 negatives",
        title="MovieLens-100k, histories of 100",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def _draw_steps(steps: list[Result], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained")
    for axes, vary in zip(panels, ("vocabulary", "history", "groups"), strict=True):
        for tables in ("adam", "adagrad"):
            line = [r for r in steps if (r["vary"], r["tables"]) == (vary, tables)]
            if line:
                middle = np.array([r["median_seconds"] for r in line])
                low = middle - [r["low_seconds"] for r in line]
                high = [r["high_seconds"] for r in line] - middle
                x = [r["value"] for r in line]
                error = 1e3 * np.array([low, high])
                axes.errorbar(x, 1e3 * middle, error, marker=".", capsize=2, label=tables)
        axes.set(xscale="log", xlabel=vary, ylabel="ms a step", ylim=(0, None))
        values = sorted({r["value"] for r in steps if r["vary"] == vary})
        axes.set_xticks(values, [f"{value:,}" for value in values])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    if panels[0].get_legend_handles_labels()[0]:
        panels[0].legend()
    figure.savefig(path)
