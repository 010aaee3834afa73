"""Recipes: data sets whose files are known, as a schema and tables that `prepare` reads."""

from collections.abc import Callable
from pathlib import Path

from data_pipeline.recipes import amazon, completejourney, movielens
from data_pipeline.schema import Schema

RECIPES: dict[str, Callable[[Path | None, Path], Schema]] = {
    "amazon": amazon.build,
    "completejourney": completejourney.build,
    "movielens": movielens.build,
}
