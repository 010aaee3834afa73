"""The examples of docstrings run, and every public class and function has one."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import atrank_tf
import data_pipeline
import export

_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> Iterator[str]:
    """The modules of the package; a command's `__main__` holds its flags alone."""
    for package in (data_pipeline, atrank_tf, export):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield found.name


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public classes and functions that a module defines; commands have flags instead."""
    for name, thing in vars(module).items():
        is_own = getattr(thing, "__module__", None) == module.__name__
        is_api = inspect.isclass(thing) or inspect.isfunction(thing)
        if is_own and is_api and not name.startswith("_") and name != "main":
            yield name, thing


@pytest.fixture(scope="module")
def names(data_dir: Path, run: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What examples may use beside the names of their own module."""
    data = data_pipeline.TimelineData(data_dir)
    public_names = {
        name: getattr(package, name)
        for package in (data_pipeline, atrank_tf)
        for name in package.__all__
    }
    helpers: dict[str, Callable[[], Any]] = {
        "toy_data": lambda: data_dir,
        "toy_schema_and_catalog": lambda: (data.schema, data.catalog),
        "toy_run": lambda: run,
        "toy_export": lambda: request.getfixturevalue("saved_model"),
    }
    libraries = {"np": np, "tf": tf, "pd": pd, "keras": keras, "Path": Path}
    return {**public_names, **libraries, **helpers}


@pytest.mark.parametrize("name", list(modules()))
def test_examples_run(
    name: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=_FLAGS, verbose=False)
    finder = doctest.DocTestFinder(exclude_empty=True)
    for example in finder.find(module, globs={**names, **vars(module), "tmp": tmp_path}):
        runner.run(example, out=failures.append)
    assert not failures, "".join(failures)


@pytest.mark.parametrize("name", list(modules()))
def test_everything_public_has_an_example(name: str) -> None:
    missing = [
        thing_name
        for thing_name, thing in public(importlib.import_module(name))
        if ">>>" not in (inspect.getdoc(thing) or "") and not issubclass_of_error(thing)
    ]
    assert not missing


def issubclass_of_error(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, BaseException)
