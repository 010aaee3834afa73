r"""Exports a trained model as a SavedModel that takes raw ids and timestamps.

Example:
    python -m export.export_model --model_dir=runs/mine --export_base=runs/mine/serving/atrank
"""

import functools
import itertools
import tempfile
from pathlib import Path

from absl import flags

from atrank_tf import cli

FLAGS = flags.FLAGS


def export_model(model_dir: str | Path, export_base: str | Path) -> Path:
    """Writes the best model of a run as the next version under `export_base`.

    The version appears whole, under its final name, or not at all.

    Args:
        model_dir: Run directory of the model.
        export_base: Directory of the model's versions, as TensorFlow Serving wants it.

    Returns:
        The directory of the new version: `export_base/<version>`.

    Raises:
        UserError: There is no trained model, or it is one that cannot be exported.
    """
    import keras
    import tensorflow as tf

    from atrank_tf.errors import UserError
    from atrank_tf.models import ATRank
    from atrank_tf.run_directory import RunDirectory
    from export.raw_inputs import RawInputs
    from export.scorer import Scorer
    from export.signature import VERBS, history_specs, input_specs, signature_name

    run = RunDirectory(model_dir)
    settings = run.settings()
    if settings["model"] == "bpr":
        raise UserError(f"{model_dir}: bpr knows users by id alone and takes no raw history")
    model = run.load_best()
    base = Path(export_base)
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix=".partial-") as directory:
        assets = Path(directory) / "assets"
        assets.mkdir()
        raw = RawInputs(model.schema, run.objects, assets, settings["max_history"])
        scorer = Scorer(model, raw)
        archive = keras.export.ExportArchive()
        for table in raw.tables:
            archive.track(table)
        archive.add_endpoint("encode", scorer.encode, [history_specs(model.schema)])
        for target, verb in itertools.product(model.schema.targets, VERBS):
            if verb == "explain" and not isinstance(model, ATRank):
                continue
            archive.add_endpoint(
                signature_name(model.schema, target, verb),
                functools.partial(getattr(scorer, verb), target=target),
                [input_specs(model.schema, target, verb, scorer.memory.specs)],
            )
        written = Path(directory) / "saved_model"
        # What is served needs no gradients; some of the model's would be traced with it.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        archive.write_out(str(written), options=options, verbose=False)
        (written / "assets.extra").mkdir()
        model.schema.save(written / "assets.extra")
        version = base / str(_last_version(base) + 1)
        written.rename(version)
    return version


def _last_version(base: Path) -> int:
    return max((int(p.name) for p in base.iterdir() if p.name.isdecimal()), default=0)


def _main() -> None:
    version = export_model(FLAGS.model_dir, FLAGS.export_base)
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    print(f"wrote {version} ({size / 1e6:.1f} MB)")
    print(f"next: python -m export.verify --model_dir={FLAGS.model_dir} --saved_model={version}")


def main() -> None:
    """Console script."""
    flags.DEFINE_string("model_dir", None, "Run directory of a trained model.", required=True)
    flags.DEFINE_string(
        "export_base",
        None,
        "Directory of the model's versions; the export becomes the next number in it.",
        required=True,
    )
    cli.run(_main)


if __name__ == "__main__":
    main()
