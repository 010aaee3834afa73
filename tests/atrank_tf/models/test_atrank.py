"""ATRank against an independent computation, and what its scores must not depend on."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atrank_tf import ATRank, PointwiseLoss, RowSparse
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import QUERY_TIME, Example, examples_of, make_batch
from tests.atrank_tf.models.traced import Traced
from tests.atrank_tf.reference import Reference
from tests.atrank_tf.sizes import SMALL

EVENTS = [
    (3, 1, QUERY_TIME - 10),
    (5, 2, QUERY_TIME - 90_000),
    (0, 0, QUERY_TIME - 10**8),
    (3, 1, QUERY_TIME - 86_400),
]
FORMS: dict[str, dict[str, Any]] = {
    "causal": {},
    "paper": {"form": "paper"},
    "causal-bilinear-mlp": {"scores": "bilinear", "downstream": "mlp"},
    "paper-bilinear-concatenated": {"form": "paper", "scores": "bilinear", "time": "concatenated"},
}


def small_model(form: str, data: TimelineData) -> ATRank:
    keras.utils.set_random_seed(7)
    model = ATRank(data.schema, data.catalog, num_blocks=2, **FORMS[form], **SMALL)
    for weight in model.trainable_weights:  # Away from zeros and ones, where faults hide.
        weight.assign(np.random.default_rng(len(weight.shape)).normal(0, 0.5, weight.shape))
    return model


@functools.cache
def traced(model: ATRank) -> Traced:
    return Traced(model)


@pytest.fixture(scope="module")
def models(data: TimelineData) -> Callable[[str], ATRank]:
    return functools.cache(lambda form: small_model(form, data))


@pytest.fixture(scope="module")
def causal(models: Callable[[str], ATRank]) -> ATRank:
    return models("causal")


@pytest.fixture(scope="module", params=["causal", "paper"])
def model(request: pytest.FixtureRequest, models: Callable[[str], ATRank]) -> ATRank:
    return models(request.param)


@pytest.fixture(scope="module", params=list(FORMS))
def form(request: pytest.FixtureRequest, models: Callable[[str], ATRank]) -> ATRank:
    return models(request.param)


def example_of(history: dict[str, Any], **candidates: list[int]) -> Example:
    return {"query_time": QUERY_TIME, "history": history, "candidates": candidates}


def logits(model: ATRank, examples: list[Example]) -> list[dict[str, list[float]]]:
    """The logits of each example by target."""
    return traced(model).logits(examples)


@given(draw=st.data())
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_scores_are_those_of_the_equations(form: ATRank, draw: st.DataObject) -> None:
    examples = draw.draw(st.lists(examples_of(form.schema), min_size=1, max_size=3))
    reference = Reference(form)
    for example, scores in zip(examples, logits(form, examples), strict=True):
        for target, indices in example["candidates"].items():
            expected = [
                reference.logit(example["history"], QUERY_TIME, target, index) for index in indices
            ]
            np.testing.assert_allclose(scores[target], expected, rtol=1e-5, atol=1e-5)


def test_attention_is_there_to_be_looked_at(form: ATRank) -> None:
    examples = [
        example_of({"item": EVENTS, "query": [(1, 0, QUERY_TIME - 7)]}, item=[4, 5]),
        example_of({}, query=[1]),
    ]
    batch = make_batch(examples, form.schema)
    weights = form.attention(batch["history"], batch["candidates"], batch["query_time"])
    assert set(weights) == {"self_attention_0", "self_attention_1", "item", "query"}
    shapes = {name: tuple(w.shape) for name, w in weights.items()}
    assert shapes["self_attention_0"] == (4, 2, 5, 5)
    assert shapes["item"] == (4, 2, 2, 5)
    np.testing.assert_allclose(np.sum(weights["item"], -1), [[[1, 1], [0, 0]]] * 4, atol=1e-5)
    first = weights["self_attention_0"][:, 0].numpy()
    times = np.array([*(time for _, _, time in EVENTS), QUERY_TIME - 7])
    visible = times[:, None] > times if form.is_causal else np.ones((5, 5), bool)
    state = form.encode(batch["history"], batch["query_time"])
    of_state = form.candidate_attention(state, batch["candidates"], batch["query_time"])
    assert set(of_state) == {"item", "query"}
    for target, candidate_weights in of_state.items():
        np.testing.assert_allclose(candidate_weights, weights[target], atol=1e-6)
    assert (first[:, ~visible] == 0).all()
    np.testing.assert_allclose(first.sum(-1), [visible.any(axis=1)] * 4, atol=1e-5)


def test_calling_the_model_gives_the_flat_logits_of_one_target_after_the_other(
    model: ATRank,
) -> None:
    examples = [
        example_of({"item": EVENTS}, item=[4, 5], query=[1]),
        example_of({}, item=[6], query=[2, 3]),
    ]
    first, second = logits(model, examples)
    flat = [*first["item"], *second["item"], *first["query"], *second["query"]]
    called = model(make_batch(examples, model.schema)).numpy()
    np.testing.assert_allclose(called, flat, atol=1e-6)


def test_a_score_does_not_depend_on_the_rest_of_the_batch(model: ATRank) -> None:
    example = example_of({"item": EVENTS}, item=[4, 9])
    long = example_of({"item": EVENTS * 9}, item=list(range(20)))
    (alone,) = logits(model, [example])
    among = logits(model, [long, example, {**long, "history": {}}])[1]
    np.testing.assert_allclose(among["item"], alone["item"], atol=1e-5)


def test_a_score_does_not_depend_on_how_ties_were_stored(model: ATRank) -> None:
    tied = [(index, action, QUERY_TIME - 5) for index, action, _ in EVENTS]
    example = example_of({"item": tied}, item=[4])
    (first,) = logits(model, [example])
    (second,) = logits(model, [{**example, "history": {"item": tied[::-1]}}])
    np.testing.assert_allclose(second["item"], first["item"], atol=1e-5)


def test_a_score_depends_on_every_part_of_a_behavior(model: ATRank) -> None:
    def score(*event: int) -> float:
        history = {"item": [(7, 1, QUERY_TIME - 50), event]}
        (scores,) = logits(model, [example_of(history, item=[4])])
        return scores["item"][0]

    base = score(3, 1, QUERY_TIME - 10)
    for event in [(4, 1, QUERY_TIME - 10), (3, 2, QUERY_TIME - 10), (3, 1, QUERY_TIME - 90_000)]:
        assert abs(score(*event) - base) > 1e-4


def test_no_group_and_no_target_at_all(model: ATRank) -> None:
    example = example_of({}, item=[4, 5])
    batch = make_batch([example, example], model.schema)
    expected = model(batch).numpy()
    np.testing.assert_array_equal(model({**batch, "history": {}}), expected)
    assert model({**batch, "candidates": {}}).shape == [0]
    if model.is_causal:
        batch = make_batch([{**example, "history": {"item": EVENTS}}] * 2, model.schema)
        state = model.encode(batch["history"], batch["query_time"])
        scores = model.score(model.extend(state, {}), batch["candidates"], batch["query_time"])[
            "item"
        ]
        np.testing.assert_array_equal(scores.flat_values, model(batch))


def split_at(history: dict[str, list[Any]], time: int) -> tuple[dict[str, list[Any]], ...]:
    """What was before a time, and the rest."""
    return tuple(
        {name: [e for e in events if (e[2] < time) == early] for name, events in history.items()}
        for early in (True, False)
    )


@given(draw=st.data())
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_one_state_serves_every_query_time(causal: ATRank, draw: st.DataObject) -> None:
    example = draw.draw(examples_of(causal.schema))
    times = [e[2] for events in example["history"].values() for e in events]
    query_time = draw.draw(st.sampled_from([0, *times, QUERY_TIME]))
    whole = make_batch([example], causal.schema)
    before = make_batch(
        [{**example, "history": split_at(example["history"], query_time)[0]}], causal.schema
    )
    query_times = tf.constant([query_time], tf.int64)
    verbs = traced(causal)
    scores, expected = (
        verbs.score(verbs.encode(history, query_times), whole["candidates"], query_times)
        for history in (whole["history"], before["history"])
    )
    for target, logits_ in expected.items():
        np.testing.assert_allclose(
            scores[target].flat_values, logits_.flat_values, rtol=1e-5, atol=1e-5
        )


@pytest.mark.slow
@given(draw=st.data())
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_extending_a_state_equals_recomputing_it(causal: ATRank, draw: st.DataObject) -> None:
    examples = draw.draw(st.lists(examples_of(causal.schema), min_size=1, max_size=3))
    time = draw.draw(st.integers(0, QUERY_TIME))
    halves = [
        make_batch(
            [{**e, "history": split_at(e["history"], time)[i]} for e in examples], causal.schema
        )
        for i in range(2)
    ]
    verbs = traced(causal)
    state = verbs.encode(halves[0]["history"], halves[0]["query_time"])
    before = {name: rows.to_list() for name, rows in state.items()}
    extended = verbs.extend(state, halves[1]["history"])
    whole = make_batch(examples, causal.schema)
    expected = verbs.score(
        verbs.encode(whole["history"], whole["query_time"]),
        whole["candidates"],
        whole["query_time"],
    )
    scores = verbs.score(extended, whole["candidates"], whole["query_time"])
    for target, logits_ in expected.items():
        np.testing.assert_allclose(
            scores[target].flat_values, logits_.flat_values, rtol=1e-5, atol=1e-5
        )
    for name, rows in before.items():  # What was in the state is in it still, untouched.
        assert [
            row[: len(r)] for row, r in zip(extended[name].to_list(), rows, strict=True)
        ] == rows


def test_a_query_time_for_each_candidate(model: ATRank) -> None:
    first = example_of(
        {"item": EVENTS, "query": [(1, 1, QUERY_TIME - 400)]}, item=[4, 5, 6], query=[1]
    )
    second = {**first, "history": {"item": EVENTS[:2]}, "candidates": {"item": [7], "query": []}}
    batch = make_batch([first, second], model.schema)
    times = {
        "item": [QUERY_TIME, QUERY_TIME - 90_000, QUERY_TIME - 20, QUERY_TIME - 5],
        "query": [QUERY_TIME - 500],
    }
    query_times = {
        target: candidates.with_flat_values(tf.constant(times[target], tf.int64))
        for target, candidates in batch["candidates"].items()
    }
    if not model.is_causal:
        with pytest.raises(ValueError, match="needs one query time a row"):
            model({**batch, "query_time": query_times})
        with pytest.raises(ValueError, match="the state of form='paper' is of one query time"):
            model.extend({}, batch["history"])
        return
    scores = model({**batch, "query_time": query_times}).numpy()
    reference = Reference(model)
    expected = [
        reference.logit(first["history"], query_time, "item", index)
        for query_time, index in zip(times["item"], [4, 5, 6], strict=False)
    ]
    expected.append(reference.logit(second["history"], QUERY_TIME - 5, "item", 7))
    expected.append(reference.logit(first["history"], QUERY_TIME - 500, "query", 1))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    assert len(set(np.round(scores, 4))) == len(scores)


def test_an_absent_group_is_an_empty_one(model: ATRank) -> None:
    example = example_of({"item": EVENTS}, item=[4])
    batch = make_batch([example], model.schema)
    whole = model(batch).numpy()
    del batch["history"]["query"]
    assert model(batch).numpy().tolist() == whole.tolist()


@pytest.mark.parametrize("form", ["causal", "paper"])
def test_nothing_known_still_gives_finite_scores_and_gradients(
    data: TimelineData, form: str
) -> None:
    model = ATRank(data.schema, data.catalog, l2=0.1, form=form, **SMALL)
    batch = make_batch([example_of({}, item=[0, 4])], model.schema)
    with tf.GradientTape() as tape:
        scores = model(batch, training=True)
        loss = tf.reduce_sum(scores) + tf.add_n(model.losses)
    assert np.isfinite(scores).all()
    gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
    for gradient in gradients:
        if gradient is not None:
            assert np.isfinite(tf.convert_to_tensor(gradient)).all()
    assert sum(gradient is not None for gradient in gradients) > 4


def test_gradients_are_those_of_finite_differences(model: ATRank) -> None:
    query = [(1, 1, QUERY_TIME - 400), (2, 1, QUERY_TIME - 90_000)]
    examples = [
        example_of({"item": EVENTS, "query": query}, item=[4, 9]),
        example_of({"query": query[:1]}, item=[3], query=[1]),
        example_of({}, item=[5]),
    ]
    batch = make_batch(examples, model.schema)
    weights = [
        model.tokens.behaviors["item"].project.kernel,
        model.self_attention[0].attention.key_value.kernel,
        model.self_attention[1].attention.query.kernel,
        model.vanilla_attention.attention.key_value.kernel,
    ]
    if model.is_causal:
        relative_time_bias = model.vanilla_attention.attention.relative_time_bias
        weights += [relative_time_bias.time, relative_time_bias.order, model.recency.gaps.table]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(model(batch)))
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    verbs = traced(model)
    for weight, gradient in zip(weights, gradients, strict=True):
        before = weight.numpy()
        gradient = tf.convert_to_tensor(gradient).numpy()
        norm = float(np.linalg.norm(gradient))
        direction = gradient / norm
        values = []
        for sign in (1, -1):
            weight.assign(before + sign * 1e-2 * direction)
            state = verbs.encode(batch["history"], batch["query_time"])
            scores = verbs.score(state, batch["candidates"], batch["query_time"]).values()
            values.append(sum(float(tf.reduce_sum(tf.sin(s.flat_values))) for s in scores))
        weight.assign(before)
        assert (values[0] - values[1]) / 2e-2 == pytest.approx(norm, rel=0.03)


@pytest.mark.slow
def test_fit_evaluate_predict_save_and_load(data: TimelineData, tmp_path: Path) -> None:
    # The paper's form; the README's example, which is tested, does so with the causal one.
    data = TimelineData(data.directory, ["query"])  # One group is traced soonest.
    keras.utils.set_random_seed(1)
    model = ATRank(data.schema, data.catalog, form="paper", **SMALL)
    model.compile(RowSparse(0.01, clip_norm=5.0), PointwiseLoss())
    batches = data.batches("train", seed=1, epoch=0)  # The same negatives in each epoch.
    history = model.fit(batches, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    # To trace evaluation and prediction takes longer than the one batch that they are run for.
    model.run_eagerly = True
    test = data.batches("test", BatchOptions(num_negatives=5)).cache()
    loss = model.evaluate(test, verbose=0)
    predicted = model.predict(test, verbose=0)
    assert predicted.shape == (sum(len(labels) for _, labels in test),)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.run_eagerly = True
    np.testing.assert_array_equal(loaded.predict(test, verbose=0), predicted)
    assert loaded.evaluate(test, verbose=0) == loss
    assert loaded.get_config() == model.get_config()
    loaded_variables, variables = loaded.optimizer.variables, model.optimizer.variables
    for variable, expected in zip(loaded_variables, variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), expected.numpy())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("form", ["causal", "paper"])
def test_mixed_precision_stays_near(data: TimelineData, form: str, policy: str) -> None:
    candidates = {"item": list(range(4, 24))}
    examples = [example_of({"item": EVENTS}, **candidates)]
    model = ATRank(data.schema, data.catalog, form=form, **SMALL)
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(1).normal(0, 0.3, weight.shape))
    for bias in model.tokens.biases.values():
        bias.table.assign(np.zeros(bias.table.shape))
    half = ATRank(data.schema, data.catalog, form=form, dtype=policy, **SMALL)
    for copy, original in zip(half.weights, model.weights, strict=True):
        copy.assign(original.numpy())
    assert half.vanilla_attention.attention.query.compute_dtype == policy.removeprefix("mixed_")
    assert half.vanilla_attention.attention.query.kernel.dtype == "float32"
    scores = half(make_batch(examples, model.schema)).numpy()
    expected = model(make_batch(examples, model.schema)).numpy()
    assert scores.dtype == np.float32
    assert np.abs(scores - expected).max() < 0.1 * expected.std()


def test_dropout_is_for_training(data: TimelineData) -> None:
    model = ATRank(data.schema, data.catalog, dropout=0.5, **SMALL)
    batch = make_batch(
        [example_of({"item": EVENTS}, item=[4])],
        model.schema,
    )
    assert model(batch).numpy() == model(batch).numpy()
    assert model(batch, training=True).numpy() != model(batch, training=True).numpy()


def test_spaces_must_divide_the_width(data: TimelineData) -> None:
    with pytest.raises(ValueError, match=r"width \(10\) must be a multiple of num_spaces \(4\)"):
        ATRank(data.schema, data.catalog, width=10, num_spaces=4)
