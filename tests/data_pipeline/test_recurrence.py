"""Which values are looked up, and where."""

from data_pipeline import recurrence
from data_pipeline.recurrence import ID, LookUp
from data_pipeline.schema import Feature, Group, Schema
from tests.data_pipeline.repeats import ITEM, SCHEMA


def test_fields_are_looked_up_where_their_vocabulary_is_shared() -> None:
    found = recurrence.look_ups(SCHEMA, "item")
    assert found == (
        LookUp(ID, "item", ID),
        LookUp(ID, "query", "about"),
        LookUp("category", "item", "category"),
        LookUp("category", "query", "kind"),
        LookUp("tag", "item", "tag"),
    )
    assert [recurrence.num_counts(SCHEMA, look_up) for look_up in found] == [2, 1, 1, 1, 1]
    assert recurrence.num_columns(SCHEMA, "item") == 5 * 3 + 6
    assert [look_up.name for look_up in recurrence.look_ups(SCHEMA, "query")] == [
        "id among query",
        "kind among query.kind",
        "kind among item.category",
        "about among query.about",
        "about among item",
        "color among query.color",  # Not among items', whose colors do not recur.
    ]
    assert recurrence.num_columns(SCHEMA, "query") == 6 * 3 + 7


def test_a_feature_that_does_not_recur_is_not_looked_up() -> None:
    features = (Feature("category", recurs=False),)
    silent = Group("query", features=features, objects="queries.csv")
    schema = Schema((ITEM, silent), ("item",))
    assert all(look_up.group == "item" for look_up in recurrence.look_ups(schema, "item"))
    both = Schema((ITEM, silent), ("item", "query"))
    names = [look_up.name for look_up in recurrence.look_ups(both, "query")]
    assert names == ["id among query"]
    assert recurrence.searched_fields(schema, silent) == []
