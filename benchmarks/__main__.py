r"""Runs every benchmark, one after the other, and writes what was measured, with figures.

Each measurement is a process of its own, so that its memory is its own; nothing else should
run on the machine meanwhile.

Example:
    python -m benchmarks --data_dir=runs/ml-100k/data --output_dir=runs/benchmark
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks import other_libraries, report
from benchmarks.protocol import Protocol
from data_pipeline import TimelineData
from data_pipeline.core import cli
from data_pipeline.core.errors import UserError

FLAGS = flags.FLAGS

STAGES = ("forms", "profile", "steps", "pipeline", "other_libraries", "serving")

# Form, newest behaviors of a history (0 for all), share of the time, evaluations, seeds.
FORMS = (
    ("causal", 100, 0.2, 14, (1, 2, 3)),
    ("paper", 100, 0.4, 10, (1,)),
    ("naive", 100, 1.0, 10, (1,)),
    ("paper", 0, 0.1, 2, (1,)),
    ("naive", 0, 1.0, 8, (1,)),
)
STEPS = {
    "vocabulary": (10_000, 1_000_000, 10_000_000),
    "history": (50, 200, 500, 2_000),
    "groups": (1, 2, 4, 8),
}


def _run(module: str, output: Path, **options: Any) -> dict[str, Any]:
    """Runs a benchmark in a process of its own and returns what it wrote."""
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{module}", f"--output={output}"]
    command += [f"--{name}={value}" for name, value in options.items()]
    print(f"-- {' '.join(command[2:])}", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"benchmarks.{module} failed")
    return json.loads(output.read_text())


def _forms(data_dir: str, output: Path, seconds: float) -> list[dict[str, Any]]:
    results = []
    for form, max_history, share, evaluations, seeds in FORMS:
        for seed in seeds:
            results.append(
                _run(
                    "form",
                    output / f"forms/{form}-{max_history}-{seed}.json",
                    data_dir=data_dir,
                    form=form,
                    max_history=max_history,
                    seconds=share * seconds,
                    evaluations=evaluations,
                    seed=seed,
                )
            )
    return results


def _profile(data_dir: str, output: Path) -> dict[str, Any]:
    envs = output / "environments"
    return _run("profile_step", output / "profile/step.json", data_dir=data_dir, envs_dir=envs)


def _steps(output: Path) -> list[dict[str, Any]]:
    results = []
    for vary, values in STEPS.items():
        for value in values:
            for tables in ("adam", "adagrad") if vary == "vocabulary" else ("adam",):
                path = output / f"steps/{vary}-{value}-{tables}.json"
                results.append(_run("step_time", path, vary=vary, value=value, tables=tables))
    return results


def _pipeline(data_dir: str, output: Path) -> list[dict[str, Any]]:
    return [
        _run("input_pipeline", output / f"pipeline/{form}.json", data_dir=data_dir, form=form)
        for form in ("causal", "paper", "naive")
    ]


def _other_libraries(data_dir: str, output: Path, seconds: float) -> list[dict[str, Any]]:
    protocol = Protocol(TimelineData(data_dir), max_history=100)
    path = output / "other_libraries/protocol.npz"
    protocol.write(path)
    results = []
    for name in other_libraries.LIBRARIES:
        directory = output / f"other_libraries/{name}"
        envs = output / "environments"
        result = other_libraries.run(
            name, path, directory, seconds / 3, envs_dir=envs, flags=["--evaluations=3"]
        )
        with np.load(directory / "scores.npz") as scores:
            for number, point in enumerate(result["curve"], start=1):
                for split in ("validation", "test"):
                    point[f"{split}_auc"] = protocol.auc(split, scores[f"{split}_{number}"])
        results.append(result)
    return results


def _main() -> None:
    stages = FLAGS.stages.split(",")
    if set(stages) - set(STAGES):
        raise UserError(f"stages {FLAGS.stages!r}: expected some of {', '.join(STAGES)}")
    output = Path(FLAGS.output_dir)
    runs = {
        "forms": lambda: _forms(FLAGS.data_dir, output, FLAGS.seconds),
        "profile": lambda: _profile(FLAGS.data_dir, output),
        "steps": lambda: _steps(output),
        "pipeline": lambda: _pipeline(FLAGS.data_dir, output),
        "other_libraries": lambda: _other_libraries(FLAGS.data_dir, output, FLAGS.seconds),
        "serving": lambda: _run(
            "serving_latency", output / "serving/latency.json", data_dir=FLAGS.data_dir
        ),
    }
    path = output / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for stage in stages:
        results[stage] = runs[stage]()
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(report.text(results))
    figures = report.draw(results, output)
    print(f"wrote {path}, {', '.join(map(str, figures))}")


def main() -> None:
    """Runs the command line."""
    flags.DEFINE_string("data_dir", "runs/ml-100k/data", "Prepared data with one group.")
    flags.DEFINE_string("output_dir", "runs/benchmark", "Where to write.")
    flags.DEFINE_string("stages", ",".join(STAGES), "Which benchmarks, separated by commas.")
    flags.DEFINE_float(
        "seconds", 450.0, "How long the naive form trains; the others train a share of it."
    )
    cli.run(_main)


if __name__ == "__main__":
    main()
