"""The exported model, run as TensorFlow Serving runs it: by the session loader."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf import ATRank, LastObject, Schema, UserError
from atrank_tf.run_directory import RunDirectory
from data_pipeline.dataset import TimelineData
from export import session
from export.export_model import export_model
from export.score import build_inputs, score_file
from export.scorer import Scorer
from export.signature import pointwise_specs
from export.verify import verify
from tests.atrank_tf.batches import make_batch
from tests.conftest import DAY, START

Command = Callable[..., subprocess.CompletedProcess[str]]
Inputs = dict[str, np.ndarray]

NOW = START + 400 * DAY
HISTORY = {
    "item": [
        {"object": 101, "action": "buy", "time": START + 5},
        {"object": 102, "action": "view", "time": START + 90 * DAY},
        {"object": 105, "action": "view", "time": START + 90 * DAY},
    ],
    "query": [{"object": 3, "time": START + 399 * DAY}],
}
REQUEST = {"time": NOW, "history": HISTORY, "candidates": [101, 110, 133]}


def make_run(data: TimelineData, path: Path) -> RunDirectory:
    """A run whose weights are far from zero, so that every input matters."""
    settings = {
        "model": "atrank",
        "model_settings": {},
        "max_history": 3,
        "data_dir": str(data.directory),
        "groups": [],
        "loss": "pointwise",
        "targets": [],
        "seed": 1,
    }
    run = RunDirectory(path)
    run.begin(settings, data.manifest.fingerprint, data.directory / "objects")
    model = ATRank(
        data.schema, data.catalog, width=16, num_spaces=4, embedding_width=8, feature_width=4
    )
    random = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    run.save(model, {"epoch": 1, "batch": 0, "seconds": 1.0, "targets_seen": 9}, is_best=True)
    return run


@pytest.fixture(scope="module")
def run(data: TimelineData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(data, tmp_path_factory.mktemp("run")).path


@pytest.fixture(scope="module")
def saved_model(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(run, tmp_path_factory.mktemp("serving") / "atrank")


@pytest.fixture(scope="module")
def score(saved_model: Path) -> Any:
    """Scores inputs of the default signature in one session of the session loader."""
    graph = tf.Graph()
    sess = tf.compat.v1.Session(graph=graph)
    with graph.as_default():
        loaded = tf.compat.v1.saved_model.load(sess, ["serve"], str(saved_model))
    signature = loaded.signature_def["serving_default"]

    def run_session(inputs: Inputs) -> np.ndarray:
        feed = {signature.inputs[name].name: value for name, value in inputs.items()}
        return sess.run(signature.outputs["logit"].name, feed)

    yield run_session
    sess.close()


def inputs_of(request: dict[str, Any], schema: Schema) -> Inputs:
    return build_inputs(request, schema)[1]


def test_verification_replays_held_out_users_in_a_process_without_the_package(
    run: Path, saved_model: Path
) -> None:
    found = verify(run, saved_model)
    assert found.requests > 20
    assert found.difference <= 1e-5
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
        [{"now": NOW, "history": history, "candidates": {"item": rows}}], data.schema
    )
    np.testing.assert_allclose(score(inputs_of(REQUEST, data.schema)), model(batch), atol=1e-5)


def test_the_signature_is_documented_and_batchable(saved_model: Path, data: TimelineData) -> None:
    schema = Schema.load(saved_model / "assets.extra")
    assert schema == data.schema
    loaded = tf.saved_model.load(str(saved_model))
    assert set(loaded.signatures) == {"serving_default", "score_query"}
    for name, target in (("serving_default", "item"), ("score_query", "query")):
        found = loaded.signatures[name].structured_input_signature[1]
        specs = pointwise_specs(schema, target)
        assert {n: (s.dtype, s.shape.rank) for n, s in found.items()} == {
            n: (s.dtype, s.shape.rank) for n, s in specs.items()
        }
        assert all(spec.shape[0] is None for spec in found.values())
        outputs = loaded.signatures[name].structured_outputs
        assert {n: (s.dtype, s.shape.rank) for n, s in outputs.items()} == {
            "score": (tf.float32, 1),
            "logit": (tf.float32, 1),
        }


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
    for time in (NOW, NOW + 5, -1):
        late = changed(base, item_times=[[time] * 3], query_times=[[time]])
        np.testing.assert_allclose(score(late), empty, atol=1e-6)

    # The order of the behaviours does not matter.
    backwards = {n: v[:, ::-1] if v.ndim == 2 else v for n, v in base.items()}
    np.testing.assert_allclose(score(backwards), expected, atol=1e-6)

    # Unknown objects and actions have rows of their own.
    unknown = changed(base, item_objects=[[1, 2, 3]], item_actions=[["", "?", "steal"]])
    assert np.isfinite(score(unknown)).all()
    assert np.isfinite(score(changed(base, candidate=[2**62]))).all()


def test_models_that_read_the_order_get_that_of_the_timelines(
    data: TimelineData, run: Path, tmp_path: Path
) -> None:
    scorer = Scorer(LastObject(data.schema), run / "objects", tmp_path, max_history=3)
    # The last of one instant is the last object row, wherever a request puts it.
    known = pq.read_table(run / "objects/item.parquet")["object"].to_pylist()
    first, last = sorted([102, 105], key=known.index)
    for events in (HISTORY["item"], HISTORY["item"][::-1]):
        request = {"time": NOW, "history": {"item": events}, "candidates": [101, first, last]}
        inputs = {k: tf.constant(v) for k, v in inputs_of(request, data.schema).items()}
        assert scorer.pointwise(inputs, "item")["logit"].numpy().tolist() == [0.0, 0.0, 1.0]


def test_long_histories_are_cut_to_the_newest(data: TimelineData, score: Any) -> None:
    events = [{"object": 100 + i, "action": "buy", "time": START + i * DAY} for i in range(30)]
    whole = {"time": NOW, "history": {"item": events}, "candidates": [110]}
    newest = {**whole, "history": {"item": events[-3:]}}
    found = score(inputs_of(whole, data.schema))
    np.testing.assert_allclose(found, score(inputs_of(newest, data.schema)), atol=1e-6)


@st.composite
def rows(draw: st.DrawFn, width: int = 4) -> dict[str, list]:
    """Any row that the signature's types allow."""
    numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(95, 145) | st.integers(START, NOW)

    def list_of(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=width, max_size=width))

    row = {}
    for name in ("item", "query"):
        row[f"{name}_objects"] = list_of(numbers)
        row[f"{name}_times"] = list_of(numbers)
        row[f"{name}_length"] = draw(st.integers(-3, 7) | numbers)
    row["item_actions"] = list_of(st.sampled_from(["buy", "view", "", "\0", "é"]))
    return {**row, "candidate": draw(numbers), "request_time": draw(numbers)}


@given(st.lists(rows(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_row_gets_a_score_that_its_neighbours_do_not_change(
    score: Any, several: list[dict[str, list]]
) -> None:
    def stacked(chosen: list[dict[str, list]]) -> Inputs:
        columns = {name: [row[name] for row in chosen] for name in chosen[0]}
        actions = np.array(columns.pop("item_actions"), object)
        return {"item_actions": actions, **{n: np.array(c) for n, c in columns.items()}}

    together = score(stacked(several))
    assert np.isfinite(together).all()
    alone = np.concatenate([score(stacked([row])) for row in several])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_no_rows_at_all(data: TimelineData, score: Any) -> None:
    base = inputs_of(REQUEST, data.schema)
    assert score({name: value[:0] for name, value in base.items()}).shape == (0,)


def test_versions_count_up_and_appear_whole(run: Path, tmp_path: Path) -> None:
    (tmp_path / "atrank/7").mkdir(parents=True)
    (tmp_path / "atrank/notes").mkdir()
    assert export_model(run, tmp_path / "atrank") == tmp_path / "atrank/8"
    assert {p.name for p in (tmp_path / "atrank").iterdir()} == {"7", "8", "notes"}
    names = {p.name for p in (tmp_path / "atrank/8/assets").iterdir()}
    assert names == {"item_objects.txt", "query_objects.txt"}


def test_a_failed_export_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Schema, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        export_model(run, tmp_path / "atrank")
    assert list((tmp_path / "atrank").iterdir()) == []


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
def test_verification_fails_on_other_scores(
    run: Path, saved_model: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    from export import verify as module

    def other(path: Path, requests: Inputs) -> dict[str, np.ndarray]:
        names = {name.split("/")[0] for name in requests}
        return {f"{n}/score": np.full(len(requests[f"{n}/candidate"]), value) for n in names}

    monkeypatch.setattr(module, "_run_in_session", other)
    with pytest.raises(UserError, match="scores differ from the model's by up to"):
        verify(run, saved_model)


def test_verification_fails_on_what_the_session_loader_cannot_run(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="the session loader cannot run it"):
        verify(run, tmp_path)


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


def event(**changes: Any) -> dict[str, Any]:
    return {**REQUEST, "history": {"item": [{"object": 1, "action": "buy", "time": 1, **changes}]}}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("{", "row 1: Expecting property name"),
        ("[1]", "row 1: request: [1]: expected a JSON object"),
        ("[" * 100_000, "row 1: "),
        ({"candidates": [1]}, "request: 'time' is missing"),
        ({"time": 5}, "request: 'candidates' is missing"),
        ({**REQUEST, "user": 5}, "request: key 'user': expected one of candidates, history"),
        ({**REQUEST, "time": "now"}, "time: time 'now': expected a number of 0 or more"),
        ({**REQUEST, "time": -1}, "time: time -1: expected"),
        ({**REQUEST, "time": float("nan")}, "time: time nan: expected"),
        ({**REQUEST, "time": 2**63}, "time: time 9223372036854775808: expected"),
        ({**REQUEST, "target": "user"}, "target 'user': expected one of item, query"),
        ({**REQUEST, "candidates": 5}, "candidates: 5: expected a list of object ids"),
        ({**REQUEST, "candidates": ["a"]}, "candidates: object 'a': expected an integer"),
        ({**REQUEST, "candidates": [True]}, "candidates: object True: expected an integer"),
        ({**REQUEST, "candidates": [2**70]}, "candidates: object id beyond 64 bits"),
        ({**REQUEST, "history": []}, "history: []: expected an object, group by group"),
        ({**REQUEST, "history": {"x": []}}, "history: group 'x': expected one of item, query"),
        ({**REQUEST, "history": {"item": 1}}, "history: item: 1: expected a list of behaviours"),
        ({**REQUEST, "history": {"item": [{}]}}, "history: item: 'object' is missing"),
        (event(price=3), "history: item: key 'price': expected one of action, object, time"),
        (event(action=None), "history: item: None: expected the action as a string"),
        (event(action="\ud800"), "row 1: "),
        (event(time=None), "history: item: time None: expected a number"),
    ],
)
def test_malformed_requests_are_told(
    saved_model: Path, tmp_path: Path, request_: Any, expected: str
) -> None:
    line = request_ if isinstance(request_, str) else json.dumps(request_)
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(UserError) as caught:
        list(score_file(saved_model, tmp_path / "r.jsonl"))
    assert expected in str(caught.value)
    assert "row 1" in str(caught.value)


def test_command_lines(run: Path, tmp_path: Path, command: Command) -> None:
    done = command("export.export_model", f"--model_dir={run}", "--export_base=serving/atrank")
    assert done.returncode == 0, done.stderr
    assert "wrote serving/atrank/1" in done.stdout
    assert done.stderr == ""
    version = "--saved_model=serving/atrank/1"
    done = command("export.verify", f"--model_dir={run}", version)
    assert done.returncode == 0, done.stderr
    assert "requests replayed through the session loader" in done.stdout
    (tmp_path / "r.jsonl").write_text(json.dumps(REQUEST) + "\n" + json.dumps({"time": 1}) + "\n")
    done = command("export.score", version, "--requests=r.jsonl")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["scores"]) == 3
    assert done.stderr == "error: r.jsonl: row 2: request: 'candidates' is missing\n"
    done = command("export.score", "--saved_model=no", "--requests=r.jsonl")
    assert done.returncode == 1
    assert done.stderr == "error: no: holds no exported version; expected EXPORT_BASE/VERSION\n"
