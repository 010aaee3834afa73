"""The signatures: documented, and of one batch."""

from pathlib import Path

import tensorflow as tf

from atrank_tf import Schema
from data_pipeline.dataset import TimelineData
from tests.conftest import REPOSITORY


def documented(schema: Schema) -> dict[str, dict[str, tuple[set[str], int]]]:
    """What README's tables say: by "SIGNATURE input" or "... output" dtypes and rank by name."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    specs: dict[str, dict[str, tuple[set[str], int]]] = {}
    kind = ""
    for line in readme.splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if cells[1:] == ["dtype", "shape", "signatures"]:
            kind = cells[0]
        elif not line.startswith("|"):
            kind = ""
        elif kind and cells[0] != "---":
            name, dtypes, shape, signatures = cells
            groups = [g for g in schema.groups if g.actions or "actions" not in name]
            for full in {name.replace("GROUP", group.name) for group in groups}:
                for signature in signatures.split(", "):
                    specs.setdefault(f"{signature} {kind}", {})[full] = (
                        set(dtypes.split(" or ")),
                        shape.count(",") + 1,
                    )
    return specs


def test_the_signatures_are_documented_and_batchable(saved_model: Path, data: TimelineData) -> None:
    schema = Schema.load(saved_model / "assets.extra")
    assert schema == data.schema
    loaded = tf.saved_model.load(str(saved_model)).signatures
    described = documented(schema)
    named = {name.split()[0] for name in described}
    of_second_target = {
        f"{'score' if n == 'serving_default' else n}__query" for n in named - {"encode"}
    }
    assert set(loaded) == named | of_second_target
    for name in named:
        sides = {
            "input": loaded[name].structured_input_signature[1],
            "output": loaded[name].structured_outputs,
        }
        for side, specs in sides.items():
            expected = described[f"{name} {side}"]
            if any(key.startswith("memory") for key in specs):  # They are the model's own.
                specs = {key: spec for key, spec in specs.items() if not key.startswith("memory")}
                expected.pop("memory...")
            assert set(specs) == set(expected)
            for key, spec in specs.items():
                dtypes, rank = expected[key]
                assert (spec.dtype.name in dtypes, spec.shape.rank) == (True, rank), key
                assert spec.shape[0] is None
