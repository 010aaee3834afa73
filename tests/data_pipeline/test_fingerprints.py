"""Fingerprints: of raw ids and values, the same wherever they are made."""

import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.fingerprints import NO_VALUE, NUM_FINGERPRINTS, fingerprint

INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20, unique=True)
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=20, unique=True)


@given(INTEGERS)
@settings(max_examples=20, deadline=None)
def test_an_integer_and_its_digits_are_one_value(integers: list[int]) -> None:
    prints = fingerprint(tf.constant(integers, tf.int64)).numpy().tolist()
    assert (
        prints == fingerprint(tf.constant([str(n) for n in integers], tf.string)).numpy().tolist()
    )


@given(TEXTS)
@settings(max_examples=20, deadline=None)
def test_other_values_have_other_fingerprints(texts: list[str]) -> None:
    prints = fingerprint(tf.constant(texts, tf.string)).numpy()
    assert prints.dtype == "int64"
    assert len(set(prints.tolist())) == len(texts)
    assert all(NO_VALUE < number < NUM_FINGERPRINTS for number in prints.tolist())


def test_fingerprints_stay_what_they_are() -> None:
    # They are in prepared data, and are compared with those of a serving graph.
    expected = [2146229448339500004, 1936946117179621456, 590358713228080281]
    assert fingerprint(tf.constant(["tea", "", "7"])).numpy().tolist() == expected
    assert fingerprint(tf.constant([[7], [8]])).shape == (2, 1)
