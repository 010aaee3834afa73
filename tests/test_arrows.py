"""Imports run one way, and what needs no TensorFlow loads none."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

# Each may import those before it: data_pipeline <- atrank_tf <- export <- benchmarks.
FLOORS = ("data_pipeline", "atrank_tf", "export", "benchmarks")

# Of data_pipeline: what writes shards, and what makes batches of them.
_WITH_TENSORS = ("dataset", "ragged", "touches", "prepare.shards")
_TENSOR_BATCHES = (
    *("block", "draws", "examples", "look_ups", "negatives", "packing", "popularity", "queries"),
    *("traced", "windows"),
)


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def dotted(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def files(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


@pytest.mark.parametrize("floor", FLOORS)
def test_no_arrow_goes_back(floor: str) -> None:
    above = FLOORS[FLOORS.index(floor) + 1 :]
    back = [
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path in files(floor)
        for name in imports(path)
        if name.partition(".")[0] in above
    ]
    assert not back


def test_tests_of_the_product_and_data_steps_need_no_benchmark() -> None:
    of_product = [p for p in files("tests") if "benchmarks" not in p.parts and p != Path(__file__)]
    back = [p for p in of_product for name in imports(p) if name.partition(".")[0] == "benchmarks"]
    assert not back
    steps = (REPOSITORY / "Makefile").read_text().split("\nbenchmark:")[0]
    assert "-m benchmarks" not in steps


def loaded_by(modules: list[str]) -> dict[str, set[str]]:
    """Which of the large libraries a fresh process has loaded after each of some imports."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'tensorflow', 'keras', 'atrank_tf'} & set(sys.modules)\n"
        "    print(name, *sorted(heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True
    )
    return {line.split()[0]: set(line.split()[1:]) for line in done.stdout.splitlines()}


def test_data_pipeline_loads_tensorflow_for_shards_and_batches_alone() -> None:
    light = [
        name
        for name in map(dotted, files("data_pipeline"))
        if name.removeprefix("data_pipeline.") not in _WITH_TENSORS
        and name not in {f"data_pipeline.batches.{module}" for module in _TENSOR_BATCHES}
    ]
    loaded = loaded_by(light)
    assert len(loaded) == len(light)
    assert all(not heavy for heavy in loaded.values()), loaded


def test_the_client_loads_no_keras_and_no_model() -> None:
    assert loaded_by(["export.client"]) == {"export.client": set()}


def test_the_packages_load_nothing_and_write_nothing_to_stderr() -> None:
    code = (
        "import sys, warnings; before = list(warnings.filters)\n"
        "import atrank_tf, data_pipeline, export\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        "from atrank_tf import ATRank\n"
        "import keras\n"
        "ours = [f for f in warnings.filters if f not in before and 'ran out' in str(f)]\n"
        "assert not ours\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
