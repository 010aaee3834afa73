"""The exported model, run as TensorFlow Serving runs it: by the session loader."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from atrank_tf import LastObject, Schema, UserError
from atrank_tf.models.registry import make_model, model_names
from atrank_tf.run_directory import RunDirectory
from data_pipeline.dataset import TimelineData
from export import verify as verify_module
from export.export_model import export_model
from export.graph.inputs import RawInputs
from export.graph.scorer import Scorer
from export.protocol.errors import ServingError
from export.release import serving_configs, session, versions, warmup
from export.score import score_file
from export.serve.servable import Servable
from export.verify import verify
from tests.atrank_tf.batches import make_batch
from tests.conftest import DAY, START
from tests.export.conftest import (
    HISTORY,
    QUERY_TIME,
    REQUEST,
    Exported,
    Inputs,
    example,
    inputs_of,
    many_inputs,
)

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_verification_replays_held_out_users(exported: Exported) -> None:
    _, found, _, _ = exported
    assert found.requests > 20
    assert found.difference <= 1e-5
    assert found.warmups == 2 * 2 * 6  # Targets, histories, signatures with `encode`.
    assert found.variable_bytes <= 1.1 * found.weight_bytes + 65_536


def test_scores_are_the_keras_models(run: Path, data: TimelineData, score: Any) -> None:
    model = RunDirectory(run).load_best()
    ids = {}
    for group in data.schema.groups:
        known = pq.read_table(run / f"objects/{group.name}.parquet")["object"].to_pylist()
        ids[group.name] = {o: group.num_oov + i for i, o in enumerate(known)}
    actions = {"buy": 1, "view": 2}
    history = {
        name: [
            (ids[name][e["object"]], actions.get(e.get("action", ""), 1), e["time"]) for e in events
        ]
        for name, events in HISTORY.items()
    }
    rows = [ids["item"][c] for c in REQUEST["candidates"]]
    batch = make_batch(
        [{"query_time": QUERY_TIME, "history": history, "candidates": {"item": rows}}], data.schema
    )
    np.testing.assert_allclose(score(inputs_of(REQUEST, data.schema)), model(batch), atol=1e-5)


def documented(schema: Schema) -> dict[str, dict[str, tuple[set[str], int]]]:
    """What README's tables say: by "SIGNATURE input" or "... output" dtypes and rank by name."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    found: dict[str, dict[str, tuple[set[str], int]]] = {}
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
                    found.setdefault(f"{signature} {kind}", {})[full] = (
                        set(dtypes.split(" or ")),
                        shape.count(",") + 1,
                    )
    return found


def test_the_signatures_are_documented_and_batchable(saved_model: Path, data: TimelineData) -> None:
    schema = Schema.load(saved_model / "assets.extra")
    assert schema == data.schema
    loaded = tf.saved_model.load(str(saved_model)).signatures
    described = documented(schema)
    named = {name.split()[0] for name in described}
    others = {f"{'score' if n == 'serving_default' else n}__query" for n in named - {"encode"}}
    assert set(loaded) == named | others
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


def test_many_candidates_are_scored_like_one_a_row(
    data: TimelineData, ask: Any, score: Any
) -> None:
    expected = score(inputs_of(REQUEST, data.schema))
    inputs = many_inputs(REQUEST, data.schema)
    found = ask("score_candidates", inputs)
    np.testing.assert_allclose(found["logit"], expected[np.newaxis], atol=1e-5)
    np.testing.assert_allclose(found["score"], 1 / (1 + np.exp(-found["logit"])), atol=1e-6)

    memory = ask("encode", {n: v for n, v in inputs.items() if "candidates" not in n})
    asked = {n: inputs[n] for n in ("candidates", "num_candidates", "request_time")}
    again = ask("score_memory", {**memory, **asked})
    np.testing.assert_allclose(again["logit"], found["logit"], atol=1e-6)

    # Two users at once, of whom the first has fewer candidates and the second no history.
    other = {**REQUEST, "history": {}}
    both = {
        name: np.concatenate([value, value])
        for name, value in {**inputs, "num_candidates": np.array([2])}.items()
    }
    both |= {"item_length": np.array([3, 0]), "query_length": np.array([1, -4])}
    both["num_candidates"][1] = 7
    found = ask("score_candidates", both)
    np.testing.assert_allclose(found["logit"][0, :2], expected[:2], atol=1e-5)
    assert found["score"][0, 2] == 0
    assert found["logit"][0, 2] == np.finfo(np.float32).min
    np.testing.assert_allclose(found["logit"][1], score(inputs_of(other, data.schema)), atol=1e-5)


def test_examples_are_scored_like_rows(data: TimelineData, ask: Any, score: Any) -> None:
    whole = {
        f"{group}_{name}s": [event[name] for event in events]
        for group, events in HISTORY.items()
        for name in events[0]
    }
    asked = {"candidate": [110], "request_time": [QUERY_TIME]}
    cases = [
        ({**whole, **asked}, REQUEST["history"]),
        (asked, {}),
        # Where columns are of different lengths, the shortest tells.
        ({**whole, **asked, "item_times": whole["item_times"][:1], "query_times": []},
         {"item": HISTORY["item"][:1]}),
    ]  # fmt: skip
    serialized = np.array([example(**features) for features, _ in cases], object)
    found = ask("score_examples", {"inputs": serialized})
    for number, (_, history) in enumerate(cases):
        request = {**REQUEST, "candidates": [110], "history": history}
        expected = 1 / (1 + np.exp(-score(inputs_of(request, data.schema))))
        np.testing.assert_allclose(found["outputs"][number], expected[0], atol=1e-6)
    assert set(found) == {"outputs"}  # Servers refuse to regress by a signature of more.
    nothing = ask("score_examples", {"inputs": np.array([b""], object)})
    assert np.isfinite(nothing["outputs"]).all()


def test_an_explanation_stands_where_the_behavior_stood(
    run: Path, data: TimelineData, ask: Any, tmp_path: Path
) -> None:
    events = [{"object": 101 + i, "action": "buy", "time": START + (i + 1) * DAY} for i in range(5)]
    late = {"object": 101, "action": "buy", "time": QUERY_TIME}
    shuffled = [events[3], late, events[0], events[4], events[1], events[2]]
    request = {
        "time": QUERY_TIME,
        "history": {"item": shuffled, "query": HISTORY["query"]},
        "candidates": [110],
    }
    inputs = inputs_of(request, data.schema)
    found = ask("explain", inputs)
    item, query = found["item_weights"][0], found["query_weights"][0]
    # Neither what came too late nor what is older than the newest three.
    assert (item > 0).tolist() == [True, False, False, True, False, True]
    assert item.sum() + query.sum() == pytest.approx(1, abs=1e-5)

    model = RunDirectory(run).load_best()
    raw = RawInputs(data.schema, run / "objects", tmp_path, max_history=3)
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    history, candidate = raw.history(tensors), raw.candidate(tensors, "item")
    weights = model.attention(history, {"item": candidate}, tensors["request_time"])["item"]
    of_events = {
        group: weights.numpy()[:, 0, 0, place].mean(axis=0)
        for group, place in (("item", slice(0, 3)), ("query", slice(3, 4)))
    }
    np.testing.assert_allclose(item[[5, 0, 3]], of_events["item"], atol=1e-6)
    np.testing.assert_allclose(query, of_events["query"], atol=1e-6)

    nothing = ask("explain", changed(inputs, item_length=[0], query_length=[0]))
    assert not nothing["item_weights"].any()
    assert not nothing["query_weights"].any()


def changed(inputs: Inputs, **changes: Any) -> Inputs:
    return {**inputs, **{name: np.array(value) for name, value in changes.items()}}


def test_what_the_graph_handles(data: TimelineData, score: Any) -> None:
    base = inputs_of({**REQUEST, "candidates": [110]}, data.schema)
    expected = score(base)
    empty = score(inputs_of({**REQUEST, "history": {}, "candidates": [110]}, data.schema))
    assert np.isfinite(expected).all()
    assert abs(expected - empty) > 1e-3

    # A server pads with the first element, to any width; lengths tell what is real.
    padded = {
        name: np.concatenate([value, np.repeat(value[:, :1], 4, axis=1)], axis=1)
        if value.ndim == 2
        else value
        for name, value in base.items()
    }
    np.testing.assert_allclose(score(padded), expected, atol=1e-6)
    nothing = {"item_length": [0], "query_length": [0]}
    np.testing.assert_allclose(score(changed(base, **nothing)), empty, atol=1e-6)
    negative = {"item_length": [-7], "query_length": [-1]}
    np.testing.assert_allclose(score(changed(base, **negative)), empty, atol=1e-6)
    beyond = {"item_length": [99], "query_length": [2**40]}
    np.testing.assert_allclose(score(changed(base, **beyond)), expected, atol=1e-6)

    # What happens at the request or after it is not seen; nor is a time below 0.
    for at in (QUERY_TIME, QUERY_TIME + 5, -1):
        late = changed(base, item_times=[[at] * 3], query_times=[[at]])
        np.testing.assert_allclose(score(late), empty, atol=1e-6)

    # The order of the behaviors does not matter.
    backwards = {n: v[:, ::-1] if v.ndim == 2 else v for n, v in base.items()}
    np.testing.assert_allclose(score(backwards), expected, atol=1e-6)

    # Unknown objects and actions have rows of their own.
    unknown = changed(base, item_objects=[[1, 2, 3]], item_actions=[["", "?", "steal"]])
    assert np.isfinite(score(unknown)).all()
    assert np.isfinite(score(changed(base, candidate=[2**62]))).all()


def test_columns_that_do_not_fit_leave_neighbours_alone(data: TimelineData, ask: Any) -> None:
    """A server pads each input to a width of its own when it joins requests."""
    inputs = many_inputs(REQUEST, data.schema)
    expected = ask("score_candidates", inputs)
    memory = ask("encode", {n: v for n, v in inputs.items() if "candidates" not in n})
    asked = {n: inputs[n] for n in ("candidates", "num_candidates", "request_time")}

    def joined(request: Inputs, name: str) -> Inputs:
        """The request, and one like it but that a column is wider by two."""
        wide = {n: np.concatenate([v, v]) for n, v in request.items()}
        wide[name] = np.concatenate([wide[name], wide[name][:, :1], wide[name][:, :1]], axis=1)
        return wide

    for name in ("item_objects", "item_actions", "item_times", "query_objects", "query_times"):
        found = ask("score_candidates", joined(inputs, name))
        np.testing.assert_allclose(found["logit"][:1], expected["logit"], atol=1e-5)
    padded = [n for n, v in memory.items() if v.ndim > 1]
    assert len(padded) > 1
    for name in padded:
        found = ask("score_memory", joined({**memory, **asked}, name))
        np.testing.assert_allclose(found["logit"][:1], expected["logit"], atol=1e-5)


def test_a_memory_of_no_numbers_scores_nothing(data: TimelineData, ask: Any) -> None:
    inputs = many_inputs(REQUEST, data.schema)
    memory = ask("encode", {n: v for n, v in inputs.items() if "candidates" not in n})
    asked = {n: inputs[n] for n in ("candidates", "num_candidates", "request_time")}
    both = {n: np.concatenate([v, v]) for n, v in {**memory, **asked}.items()}
    expected = ask("score_memory", both)
    (name, *_) = (n for n, v in memory.items() if v.dtype == np.float32)
    for value in (np.nan, np.inf, 3e38):
        broken = {**both, name: both[name].copy()}
        broken[name][1] = value
        found = ask("score_memory", broken)
        assert np.isfinite(found["logit"]).all()
        np.testing.assert_allclose(found["logit"][0], expected["logit"][0], atol=1e-6)


def test_a_run_ends_with_its_deadline(data: TimelineData, ask: Any) -> None:
    inputs = many_inputs(REQUEST, data.schema)
    expected = ask("score_candidates", inputs)["logit"]
    long = changed(inputs, candidates=[[110] * 200_000], num_candidates=[200_000])
    with pytest.raises(ServingError) as caught:
        ask("score_candidates", long, (), time.monotonic() - 1)
    assert caught.value.code.name == "DEADLINE_EXCEEDED"
    found = ask("score_candidates", inputs, (), time.monotonic() + 60)["logit"]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", sorted(set(model_names()) - {"atrank", "bpr"}))
def test_every_model_is_asked_by_the_same_code(
    name: str, data: TimelineData, run: Path, tmp_path: Path
) -> None:
    raw = RawInputs(data.schema, run / "objects", tmp_path, max_history=3)
    scorer = Scorer(make_model(name, data.schema, data.catalog), raw)
    rows = {k: tf.constant(v) for k, v in inputs_of(REQUEST, data.schema).items()}
    several = {k: tf.constant(v) for k, v in many_inputs(REQUEST, data.schema).items()}
    expected = scorer.score(rows, "item")["logit"]
    found = scorer.score_candidates(several, "item")["logit"]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    memory = scorer.encode(several)
    assert set(memory) == set(scorer.state.specs)
    for key, spec in scorer.state.specs.items():
        assert spec.is_compatible_with(memory[key]), key
    again = scorer.score_memory({**several, **memory}, "item")["logit"]
    np.testing.assert_allclose(again, found, atol=1e-6)


def test_models_that_read_the_order_get_that_of_the_timelines(
    data: TimelineData, run: Path, tmp_path: Path
) -> None:
    raw = RawInputs(data.schema, run / "objects", tmp_path, max_history=3)
    scorer = Scorer(LastObject(data.schema), raw)
    # The last of one instant is the last object index, wherever a request puts it.
    known = pq.read_table(run / "objects/item.parquet")["object"].to_pylist()
    first, last = sorted([102, 105], key=known.index)
    for events in (HISTORY["item"], HISTORY["item"][::-1]):
        request = {
            "time": QUERY_TIME,
            "history": {"item": events},
            "candidates": [101, first, last],
        }
        inputs = {k: tf.constant(v) for k, v in inputs_of(request, data.schema).items()}
        assert scorer.score(inputs, "item")["logit"].numpy().tolist() == [0.0, 0.0, 1.0]


def test_long_histories_are_cut_to_the_newest(data: TimelineData, score: Any) -> None:
    events = [{"object": 100 + i, "action": "buy", "time": START + i * DAY} for i in range(30)]
    whole = {"time": QUERY_TIME, "history": {"item": events}, "candidates": [110]}
    newest = {**whole, "history": {"item": events[-3:]}}
    found = score(inputs_of(whole, data.schema))
    np.testing.assert_allclose(found, score(inputs_of(newest, data.schema)), atol=1e-6)


@st.composite
def rows(draw: st.DrawFn, width: int = 4) -> dict[str, list]:
    """Any row that the signature's types allow."""
    numbers = (
        st.integers(-(2**63), 2**63 - 1) | st.integers(95, 145) | st.integers(START, QUERY_TIME)
    )

    def list_of(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=width, max_size=width))

    row = {}
    for name in ("item", "query"):
        row[f"{name}_objects"] = list_of(numbers)
        row[f"{name}_times"] = list_of(numbers)
        row[f"{name}_length"] = draw(st.integers(-3, 7) | numbers)
    row["item_actions"] = list_of(st.sampled_from(["buy", "view", "", "\0", "é"]))
    row["candidates"] = list_of(numbers)
    row["num_candidates"] = draw(st.integers(-3, 7) | numbers)
    return {**row, "candidate": draw(numbers), "request_time": draw(numbers)}


@given(st.lists(rows(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_row_gets_an_answer_that_its_neighbours_do_not_change(
    ask: Any, several: list[dict[str, list]]
) -> None:
    def answers(chosen: list[dict[str, list]]) -> dict[str, np.ndarray]:
        columns = {name: [row[name] for row in chosen] for name in chosen[0]}
        actions = np.array(columns.pop("item_actions"), object)
        inputs = {"item_actions": actions, **{n: np.array(c) for n, c in columns.items()}}
        asked = {name: inputs.pop(name) for name in ("candidates", "num_candidates")}
        one = inputs.pop("candidate")
        now = {"request_time": inputs["request_time"]}
        memory = ask("encode", inputs)
        found = {
            "serving_default": ask("serving_default", {**inputs, "candidate": one}),
            "explain": ask("explain", {**inputs, "candidate": one}),
            "score_candidates": ask("score_candidates", {**inputs, **asked}),
            "score_memory": ask("score_memory", {**memory, **asked, **now}),
        }
        return {f"{n} {key}": v for n, out in found.items() for key, v in out.items()}

    together = answers(several)
    assert all(np.isfinite(values).all() for values in together.values())
    alone = [answers([row]) for row in several]
    for name, values in together.items():
        expected = np.concatenate([answer[name] for answer in alone])
        np.testing.assert_allclose(values, expected, atol=1e-5, err_msg=name)


def test_no_rows_at_all(data: TimelineData, score: Any) -> None:
    base = inputs_of(REQUEST, data.schema)
    assert score({name: value[:0] for name, value in base.items()}).shape == (0,)


def write_nothing(archive: keras.export.ExportArchive, path: str, **_: Any) -> None:
    """In place of `write_out`."""
    Path(path).mkdir()


def test_versions_count_up_and_appear_whole(tmp_path: Path) -> None:
    for name in ("7", "notes", ".partial-1/saved_model/variables"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".partial-1/saved_model/variables/data").write_text("1")
    assert versions.publish(tmp_path / ".partial-1/saved_model", tmp_path) == tmp_path / "8"
    assert (tmp_path / "8/variables/data").read_text() == "1"
    assert list(versions.found(tmp_path)) == [7, 8]
    assert versions.found(tmp_path / "nothing") == {}
    with pytest.raises(FileNotFoundError):
        versions.publish(tmp_path / "no", tmp_path)
    with pytest.raises(UserError, match="model name 'a b': expected letters, digits"):
        versions.name_of(tmp_path / "a b")


def test_old_versions_are_pruned(tmp_path: Path) -> None:
    for name in ("1", "002", "10", "notes", ".pruned-0", ".partial-new", ".partial-old"):
        (tmp_path / name / "variables").mkdir(parents=True)
    (tmp_path / "3").symlink_to(tmp_path / "notes")
    os.utime(tmp_path / ".partial-old", (0, 0))  # Of an export that was killed.
    assert versions.prune(tmp_path, keep=5) == []
    assert versions.prune(tmp_path, keep=1) == [1, 2, 3]
    assert {p.name for p in tmp_path.iterdir()} == {"10", "notes", ".partial-new"}


def test_exports_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    def export(number: int) -> list[int]:
        published = []
        for turn in range(20):
            versions.clear(tmp_path)
            written = tmp_path / f"{versions.PARTIAL}{number}-{turn}"
            (written / "variables").mkdir(parents=True)
            published.append(int(versions.publish(written, tmp_path).name))
            versions.prune(tmp_path, keep=2)
        return published

    with ThreadPoolExecutor(4) as pool:
        published = list(pool.map(export, range(4)))
    assert all(numbers == sorted(numbers) for numbers in published)
    assert sorted(itertools.chain.from_iterable(published)) == list(range(1, 81))
    versions.clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"79", "80"}


def test_models_without_a_history_cannot_be_exported(data: TimelineData, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.begin(
        {"model": "bpr", "groups": [], "loss": "bpr"},
        data.manifest.fingerprint,
        data.directory / "objects",
    )
    with pytest.raises(UserError, match="bpr knows users by id alone"):
        export_model(tmp_path / "run", tmp_path / "atrank")
    with pytest.raises(UserError, match="holds no trained model"):
        export_model(tmp_path / "nothing", tmp_path / "atrank")


@pytest.mark.parametrize("value", [0.5, np.nan])
@pytest.mark.parametrize(
    "signature", ["serving_default/score", "score_examples/outputs", "explain__query/item_weights"]
)
def test_verification_fails_on_other_answers(
    run: Path, saved_model: Path, answers: Inputs, signature: str, value: float
) -> None:
    (answer, *_) = (n for n in answers if n.startswith("replay") and n.endswith(f"/{signature}"))
    answers[answer].flat[0] = value
    with pytest.raises(UserError, match="scores differ from the model's by up to"):
        verify(run, saved_model)


def test_verification_fails_on_a_warm_up_that_does(
    run: Path, saved_model: Path, answers: Inputs
) -> None:
    warmed = (n for n in answers if n.startswith("warmup") and "/encode/memory" in n)
    name = next(n for n in warmed if answers[n].dtype == np.float32)
    answers[name].flat[0] = np.nan
    with pytest.raises(UserError, match=f"{name}: an output is not finite"):
        verify(run, saved_model)


def test_an_export_that_fails_verification_is_no_version(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise UserError("scores differ")

    # Whatever is written, and how, which takes its time.
    monkeypatch.setattr(keras.export.ExportArchive, "add_endpoint", lambda *_: None)
    monkeypatch.setattr(keras.export.ExportArchive, "write_out", write_nothing)
    monkeypatch.setattr(warmup, "requests", lambda *_: [])
    monkeypatch.setattr(verify_module, "verify", fail)
    with pytest.raises(UserError, match="scores differ"):
        export_model(run, tmp_path / "atrank")
    assert list((tmp_path / "atrank").iterdir()) == []


def test_verification_fails_on_what_the_session_loader_cannot_run(
    run: Path, saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"tf_serving_warmup_requests: no such file; expected a"):
        verify(run, tmp_path)
    monkeypatch.setattr(verify_module, "_replays", lambda *_: [])
    shutil.copytree(saved_model, tmp_path / "1")
    (tmp_path / "1/saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(UserError, match="the session loader cannot run it"):
        verify(run, tmp_path / "1")
    ended = tmp_path / "ended"
    monkeypatch.setattr(sys, "executable", str(ended))
    for signal, expected in ((9, "its process was killed; is there memory"), (6, "6, after: why")):
        ended.write_text(f"#!/bin/sh\necho why >&2\nkill -{signal} $$\n")
        ended.chmod(0o755)
        with pytest.raises(UserError, match=f"cannot run it: .*{expected}"):
            verify(run, tmp_path / "1")


def test_half_a_vocabulary_is_not_loaded(saved_model: Path, tmp_path: Path) -> None:
    shutil.copytree(saved_model, tmp_path / "1")
    path = tmp_path / "1/assets/item_objects.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Invalid vocab_size in .*but got 2"):
        Servable(tmp_path / "1")


@pytest.mark.usefixtures("answers")
def test_verification_fails_on_weights_stored_twice(
    run: Path, saved_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(saved_model, tmp_path / "1")
    with (tmp_path / "1/variables/more.data-00000-of-00001").open("wb") as stream:
        stream.write(b"0" * 200_000)
    with pytest.raises(UserError, match=r"variables take .* bytes for weights of"):
        verify(run, tmp_path / "1")


def test_the_session_script_knows_nothing_of_the_package() -> None:
    source = Path(session.__file__).read_text()
    assert "import atrank_tf" not in source
    assert "from atrank_tf" not in source
    assert "keras" not in source


def test_score_answers_line_by_line(
    saved_model: Path, data: TimelineData, tmp_path: Path, score: Any
) -> None:
    requests = [
        REQUEST,
        {**REQUEST, "candidates": []},
        {**REQUEST, "target": "query", "candidates": [3]},
    ]
    lines = [json.dumps(r, ensure_ascii=False) for r in requests]
    (tmp_path / "r.jsonl").write_text("\n".join([lines[0], "", *lines[1:]]) + "\n")
    answers = list(score_file(saved_model, tmp_path / "r.jsonl"))
    np.testing.assert_allclose(
        answers[0]["logits"], score(inputs_of(REQUEST, data.schema)), atol=1e-5
    )
    expected = 1 / (1 + np.exp(-np.array(answers[0]["logits"])))
    np.testing.assert_allclose(answers[0]["scores"], expected, atol=1e-6)
    assert answers[1] == {"scores": [], "logits": []}
    assert len(answers[2]["scores"]) == 1


def test_what_servers_are_started_with(tmp_path: Path) -> None:
    (tmp_path / "batching.config").write_text("mine")
    written = serving_configs.write(tmp_path / "other")
    assert {p.name for p in written} == {"models.config", "monitoring.config", "compose.yaml"}
    assert (tmp_path / "batching.config").read_text() == "mine"
    assert serving_configs.write(tmp_path / "other") == []
    models = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((tmp_path / "models.config").read_text(), models)
    (config,) = models.model_config_list.config
    assert (config.name, config.base_path) == ("other", "/models/other")
    (tmp_path / "batching.config").unlink()
    serving_configs.write(tmp_path / "other")
    # First elements tell nothing, lengths do: so inputs may be padded to one width.
    assert "pad_variable_length_inputs: true" in (tmp_path / "batching.config").read_text()
    line = serving_configs.docker_line(tmp_path / "other", gpu=True)
    assert f"-v {tmp_path.resolve()}/other:/models/other -e MODEL_NAME=other" in line
    assert "--gpus all" in line
    assert serving_configs.does_not_name(tmp_path / "other") is None
    assert serving_configs.does_not_name(tmp_path / "third") == tmp_path / "models.config"


def test_command_lines(saved_model: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(REQUEST) + "\n" + json.dumps({"time": 1}) + "\n")
    done = command("export.score", f"--saved_model={saved_model}", "--requests=r.jsonl")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["scores"]) == 3
    assert done.stderr == "error: r.jsonl: row 2: request: 'candidates' is missing\n"
    for module, flag in (("score", "--requests=r.jsonl"), ("smoke", "--address=localhost:1")):
        done = command(f"export.{module}", "--saved_model=no", flag)
        assert done.returncode == 1
        expected = "error: no: holds no exported version; expected EXPORT_BASE/VERSION\n"
        assert done.stderr == expected
    done = command("export.export_model", "--model_dir=no", "--export_base=serving/atrank")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no: holds no trained model")
    assert not (tmp_path / "serving").exists()
