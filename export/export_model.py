r"""Exports a trained model as a SavedModel that takes raw ids and timestamps.

Example:
    python -m export.export_model --model_dir=runs/mine --export_base=runs/mine/serving/atrank
"""

import functools
import itertools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from export import verify
from export.protocol.fields import VERBS, signature_name
from export.protocol.request import Inputs
from export.release import serving_configs, versions
from export.verify import Verification

if TYPE_CHECKING:
    from atrank_tf.models import Ranker
    from export.graph.scorer import Scorer

FLAGS = flags.FLAGS


def export_model(
    model_dir: str | Path, export_base: str | Path, data_dir: str | Path = ""
) -> tuple[Path, Verification]:
    """Writes the best model of a run as the next version under `export_base`.

    The version appears under its name when it is on disk, whole, and verified; or not at all.

    Args:
        model_dir: Run directory of the model.
        export_base: Directory of the model's versions, as TensorFlow Serving wants it.
        data_dir: Prepared data that the export is verified with; "" for that which the run
            was trained on.

    Returns:
        The directory of the new version, `export_base/<version>`, and the result of `verify`.

    Raises:
        UserError: There is no trained model, it is one that cannot be exported, or the
            export does not pass `export.verify`.

    Example:

    >>> version = toy_export()  # Written by `export_model(toy_run(), "serving/atrank")`.
    >>> sorted(path.name for path in version.iterdir())
    ['assets', 'assets.extra', 'fingerprint.pb', 'saved_model.pb', 'variables']
    """
    from atrank_tf.models import model_class
    from atrank_tf.run_directory import RunDirectory

    run = RunDirectory(model_dir)
    settings = run.settings()
    if model_class(settings["model"]).needs_user_index:
        raise UserError(
            f"{model_dir}: {settings['model']} knows users by id alone and takes no raw history"
        )
    model = run.load_best()
    base = Path(export_base)
    model_name = versions.model_name(base)
    base.mkdir(parents=True, exist_ok=True)
    versions.clear(base)
    with tempfile.TemporaryDirectory(dir=base, prefix=versions.PARTIAL) as directory:
        saved_model = _write_saved_model(
            model, run.objects, settings["max_history"], model_name, Path(directory)
        )
        verification = verify.verify(model_dir, saved_model, data_dir=data_dir)
        version = versions.publish(saved_model, base)
    return version, verification


def _write_saved_model(
    model: "Ranker", objects_dir: Path, max_history: int, model_name: str, directory: Path
) -> Path:
    """Writes a version, with its schema and warm-up requests, into an empty directory."""
    import keras
    import tensorflow as tf

    from export.graph.inputs import RawInputs
    from export.graph.scorer import Scorer
    from export.protocol.signatures import history_specs, input_specs
    from export.release import warmup

    schema = model.schema
    assets = directory / "assets"
    assets.mkdir()
    raw = RawInputs(schema, objects_dir, assets, max_history)
    scorer = Scorer(model, raw)
    archive = keras.export.ExportArchive()
    for table in raw.tables:
        archive.track(table)
    archive.add_endpoint("encode", scorer.encode, [history_specs(schema)])
    verbs = [verb for verb in VERBS if verb != "explain" or model.can_explain]
    for target, verb in itertools.product(schema.target_names, verbs):
        archive.add_endpoint(
            signature_name(schema, target, verb),
            functools.partial(getattr(scorer, verb), target=target),
            [input_specs(schema, target, verb, scorer.state.specs)],
        )
    saved_model = directory / "saved_model"
    # What is served needs no gradients; some of the model's would be traced with it.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    archive.write_out(str(saved_model), options=options, verbose=False)
    extra = saved_model / "assets.extra"
    extra.mkdir()
    schema.save(extra)
    requests = warmup.requests(schema, objects_dir, max_history)
    warmup.write(extra / warmup.FILE_NAME, _by_signature(scorer, requests, verbs), model_name)
    return saved_model


def _by_signature(
    scorer: "Scorer", requests: Iterable[tuple[str, Inputs]], verbs: list[str]
) -> dict[str, list[Inputs]]:
    """Requests as each signature takes them, with the user state that the model gives for them."""
    import tensorflow as tf

    from export.protocol.tensors import inputs_by_signature

    schema = scorer.model.schema
    by_signature: dict[str, list[Inputs]] = {}
    for target, inputs in requests:
        by_verb = inputs_by_signature(inputs, schema)
        history = {name: tf.constant(value) for name, value in by_verb["encode"].items()}
        state = {name: value.numpy() for name, value in scorer.encode(history).items()}
        by_verb["score_memory"] |= state
        for verb in ["encode", *verbs]:
            signature = signature_name(schema, target, verb)
            by_signature.setdefault(signature, []).append(by_verb[verb])
    return by_signature


def _main() -> None:
    base = Path(FLAGS.export_base)
    print("tracing the signatures, then replaying held-out users by each", flush=True)
    version, verification = export_model(FLAGS.model_dir, base, FLAGS.data_dir)
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    print(f"wrote {version} ({size / 1e6:.1f} MB)")
    print(f"verified: {verification}")
    for path in serving_configs.write(base):
        print(f"wrote {path}")
    if config := serving_configs.config_without(base):
        print(f"{config} names other models: add {base.resolve().name} to be served beside them")
    if FLAGS.keep:
        for number in versions.prune(base, FLAGS.keep):
            print(f"removed {base / str(number)}")
    print(f"next: python -m export.serve --model_base={base}")
    print(f"or:   {serving_configs.docker_line(base)}")


def main() -> None:
    """Console script."""
    flags.DEFINE_string("model_dir", None, "Run directory of a trained model.", required=True)
    flags.DEFINE_string(
        "export_base",
        None,
        "Directory of the model's versions; the export becomes the next number in it. Its name "
        "is what servers know the model by.",
        required=True,
    )
    flags.DEFINE_string(
        "data_dir",
        "",
        "Prepared data, whose held-out users are replayed; that of the training by default.",
    )
    flags.DEFINE_integer(
        "keep", 0, "Versions to keep: older ones are removed. 0 for all.", lower_bound=0
    )
    cli.run(_main)


if __name__ == "__main__":
    main()
