"""Errors: how library callers catch a user's mistake."""

import pickle

import pytest

import atrank_tf
import data_pipeline
from data_pipeline.core.errors import DivergedError, UserError


@pytest.mark.parametrize("kind", [UserError, DivergedError])
def test_a_mistake_is_a_value_error_with_its_message(kind: type[UserError]) -> None:
    with pytest.raises(ValueError, match=r"^e\.csv: row 2: expected a time$") as caught:
        raise kind("e.csv: row 2: expected a time")
    assert isinstance(caught.value, UserError)


def test_what_diverged_can_be_told_from_other_mistakes() -> None:
    assert issubclass(DivergedError, UserError)
    assert not isinstance(UserError("no such file"), DivergedError)


def test_a_mistake_in_another_process_arrives_as_it_was() -> None:
    error = pickle.loads(pickle.dumps(DivergedError("the loss is nan")))
    assert (type(error), str(error)) == (DivergedError, "the loss is nan")


def test_both_packages_name_the_same_error() -> None:
    assert data_pipeline.UserError is atrank_tf.UserError is UserError
