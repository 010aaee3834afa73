"""What a recipe makes of files, prepared."""

from pathlib import Path

from data_pipeline.manifest import Manifest
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.recipes import RECIPES
from data_pipeline.schema import Schema


def prepared(recipe: str, source: Path | None, tmp_path: Path) -> tuple[Schema, Manifest, Path]:
    work = tmp_path / "work"
    work.mkdir()
    schema = RECIPES[recipe](source, work)
    manifest = prepare(schema, tmp_path / "out", base_dir=work)
    return Schema.load(tmp_path / "out"), manifest, tmp_path / "out"
