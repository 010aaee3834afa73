r"""Prepares logs of behavior: checks them, indexes their objects, writes timelines.

Data sets that the package knows need no schema:
    python -m data_pipeline.prepare --recipe=completejourney --output_dir=data/journey
    python -m data_pipeline.prepare --recipe=movielens --input_dir=ml-1m --output_dir=data/ml-1m

Your own logs (Parquet, CSV or JSON lines, also gzipped) are described by one:
    python -m data_pipeline.prepare --events='logs/*.parquet' --schema=schema.json \
        --output_dir=data/mine
"""

import time

from absl import flags

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare_logs, prepare_recipe
from data_pipeline.prepare.summary import format_summary
from data_pipeline.recipes import RECIPES

FLAGS = flags.FLAGS


def _main() -> None:
    start = time.monotonic()
    if bool(FLAGS.recipe) == bool(FLAGS.schema):
        raise UserError("give either --recipe, or --schema for data of your own")
    if FLAGS.recipe and FLAGS.events:
        raise UserError("--events goes with --schema, not with --recipe")
    if FLAGS.schema and FLAGS.input_dir:
        raise UserError("--input_dir goes with --recipe, not with --schema")
    settings = {
        name: FLAGS[name].value for name in ("on_bad_rows", "memory_budget_mb", "overwrite")
    }
    if FLAGS.recipe:
        manifest = prepare_recipe(FLAGS.recipe, FLAGS.input_dir, FLAGS.output_dir, **settings)
    else:
        manifest = prepare_logs(FLAGS.schema, FLAGS.events, FLAGS.output_dir, **settings)
    print(format_summary(manifest, FLAGS.output_dir))
    print(f"  in {time.monotonic() - start:.1f} s; fingerprint {manifest.fingerprint[:12]}")
    print(f"next: python -m atrank_tf.train --data_dir={FLAGS.output_dir} --model_dir=runs/mine")


def main() -> None:
    """Console script."""
    flags.DEFINE_enum("recipe", None, list(RECIPES), "A data set known by name.")
    flags.DEFINE_string("input_dir", None, "With --recipe: directory of the data set's own files.")
    flags.DEFINE_list("events", [], "With --schema: files or globs of the table of events.")
    flags.DEFINE_string("schema", None, "Schema of your own data, a JSON file.")
    flags.DEFINE_string("output_dir", None, "Where the prepared data appears.", required=True)
    flags.DEFINE_enum(
        "on_bad_rows",
        "fail",
        ["fail", "skip"],
        "Fail at the first row that cannot be used, or skip such rows and list them.",
    )
    flags.DEFINE_integer("memory_budget_mb", 1024, "Memory that sorting may take, about.")
    flags.DEFINE_bool("overwrite", False, "Replace prepared data that is already there.")
    cli.run(_main)


if __name__ == "__main__":
    main()
