"""Names of signatures and tensors: each thing has its own."""

from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.schema import Group, Schema
from export.protocol import fields
from export.protocol.fields import HistoryFields, signature_name

NAMES = st.lists(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}", fullmatch=True)
    | st.sampled_from(["item", "item_objects", "score", "score__item", "encode", "candidates"]),
    min_size=1,
    max_size=4,
    unique=True,
)
TWO = Schema((Group("item"), Group("query")), ("item", "query"))


def test_names_on_the_wire_do_not_change() -> None:
    names = HistoryFields(Group("item", actions=("buy", "view")))
    assert names.columns == {
        "objects": "item_objects",
        "times": "item_times",
        "actions": "item_actions",
    }
    assert (names.length, names.weights) == ("item_length", "item_weights")
    assert {key: getattr(fields, key) for key in dir(fields) if key.isupper()} == {
        "REQUEST_TIME": "request_time",
        "CANDIDATE": "candidate",
        "CANDIDATES": "candidates",
        "NUM_CANDIDATES": "num_candidates",
        "EXAMPLES": "inputs",
        "SCORE": "score",
        "LOGIT": "logit",
        "REGRESSION": "outputs",
        "STATE": "memory",
        "STATE_LENGTH": "memory_length",
        "STATE_VERSION": "memory_version",
        "TOUCHED": "memory_touched",
        "TOUCHED_LENGTH": "memory_touched_length",
        "RECURRENCE": "recurrence",
        "VERBS": ("score", "score_candidates", "score_examples", "score_memory", "explain"),
    }
    assert fields.state_part("keys_values") == "memory_keys_values"
    verbs = (*fields.VERBS, "encode")
    assert [signature_name(TWO, "item", verb) for verb in verbs] == [
        "serving_default",
        "score_candidates",
        "score_examples",
        "score_memory",
        "explain",
        "encode",
    ]
    assert [signature_name(TWO, "query", verb) for verb in verbs] == [
        "score__query",
        "score_candidates__query",
        "score_examples__query",
        "score_memory__query",
        "explain__query",
        "encode",
    ]


def test_a_group_of_one_action_sends_none() -> None:
    assert set(HistoryFields(Group("item")).columns) == {"objects", "times"}


@given(NAMES)
@settings(max_examples=40, deadline=None)
def test_no_two_tensors_or_signatures_have_one_name(names: list[str]) -> None:
    groups = tuple(Group(name, actions=("buy",)) for name in names)
    tensors = [fields.REQUEST_TIME, fields.CANDIDATE, fields.CANDIDATES, fields.NUM_CANDIDATES]
    for group in groups:
        group_fields = HistoryFields(group)
        tensors += [*group_fields.columns.values(), group_fields.length, group_fields.weights]
    assert len(set(tensors)) == len(tensors)
    schema = Schema(groups, tuple(names))
    signatures = [signature_name(schema, name, verb) for name in names for verb in fields.VERBS]
    assert len({*signatures, "encode"}) == len(signatures) + 1
