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

if TYPE_CHECKING:
    from export.graph.scorer import Scorer
    from export.protocol.request import Inputs
    from export.verify import Verification

FLAGS = flags.FLAGS


def export_model(
    model_dir: str | Path, export_base: str | Path, data_dir: str | Path = ""
) -> tuple[Path, "Verification"]:
    """Writes the best model of a run as the next version under `export_base`.

    The version appears under its name when it is on disk, whole, and verified; or not at all.

    Args:
        model_dir: Run directory of the model.
        export_base: Directory of the model's versions, as TensorFlow Serving wants it.
        data_dir: Prepared data that the export is verified with; "" for that which the run
            was trained on.

    Returns:
        The directory of the new version, `export_base/<version>`, and what `verify` found.

    Raises:
        UserError: There is no trained model, it is one that cannot be exported, or the
            export does not pass `export.verify`.
    """
    import keras
    import tensorflow as tf

    from atrank_tf.models import model_class
    from atrank_tf.run_directory import RunDirectory
    from data_pipeline.core.errors import UserError
    from export.graph.inputs import RawInputs
    from export.graph.scorer import Scorer
    from export.protocol.fields import VERBS, signature_name
    from export.protocol.signatures import history_specs, input_specs
    from export.release import versions, warmup
    from export.verify import verify

    run = RunDirectory(model_dir)
    settings = run.settings()
    if model_class(settings["model"]).needs_user_index:
        raise UserError(
            f"{model_dir}: {settings['model']} knows users by id alone and takes no raw history"
        )
    model = run.load_best()
    base = Path(export_base)
    model_name = versions.name_of(base)
    base.mkdir(parents=True, exist_ok=True)
    versions.clear(base)
    with tempfile.TemporaryDirectory(dir=base, prefix=versions.PARTIAL) as directory:
        assets = Path(directory) / "assets"
        assets.mkdir()
        raw = RawInputs(model.schema, run.objects, assets, settings["max_history"])
        scorer = Scorer(model, raw)
        archive = keras.export.ExportArchive()
        for table in raw.tables:
            archive.track(table)
        archive.add_endpoint("encode", scorer.encode, [history_specs(model.schema)])
        verbs = [v for v in VERBS if v != "explain" or model.can_explain]
        for target, verb in itertools.product(model.schema.targets, verbs):
            archive.add_endpoint(
                signature_name(model.schema, target, verb),
                functools.partial(getattr(scorer, verb), target=target),
                [input_specs(model.schema, target, verb, scorer.state.specs)],
            )
        written = Path(directory) / "saved_model"
        # What is served needs no gradients; some of the model's would be traced with it.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        archive.write_out(str(written), options=options, verbose=False)
        extra = written / "assets.extra"
        extra.mkdir()
        model.schema.save(extra)
        asked = warmup.requests(model.schema, run.objects, settings["max_history"])
        warmups = _by_signature(scorer, asked, verbs)
        warmup.write(extra / warmup.FILE_NAME, warmups, model_name)
        found = verify(model_dir, written, data_dir=data_dir)
        version = versions.publish(written, base)
    return version, found


def _by_signature(
    scorer: "Scorer", asked: Iterable[tuple[str, "Inputs"]], verbs: list[str]
) -> dict[str, list["Inputs"]]:
    """Requests as each signature takes them, with the user state that the model gives for them."""
    import tensorflow as tf

    from export.protocol.fields import signature_name
    from export.protocol.tensors import inputs_by_signature

    schema = scorer.model.schema
    requests: dict[str, list[Inputs]] = {}
    for target, candidates in asked:
        by_verb = inputs_by_signature(candidates, schema)
        history = {name: tf.constant(value) for name, value in by_verb["encode"].items()}
        state = {name: value.numpy() for name, value in scorer.encode(history).items()}
        by_verb["score_memory"] |= state
        for verb in ["encode", *verbs]:
            requests.setdefault(signature_name(schema, target, verb), []).append(by_verb[verb])
    return requests


def _main() -> None:
    from export.release import serving_configs, versions

    base = Path(FLAGS.export_base)
    print("tracing the signatures, then replaying held-out users by each", flush=True)
    version, found = export_model(FLAGS.model_dir, base, FLAGS.data_dir)
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    print(f"wrote {version} ({size / 1e6:.1f} MB)")
    print(f"verified: {found}")
    for path in serving_configs.write(base):
        print(f"wrote {path}")
    if others := serving_configs.does_not_name(base):
        print(f"{others} names other models: add {base.resolve().name} to be served beside them")
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
