"""Pictures of attention: they are written, whatever objects are called."""

from pathlib import Path

from atrank_tf import ATRank
from atrank_tf.attention.maps import case, find_query, object_names
from atrank_tf.attention.plots import draw_self_attention, draw_vanilla_attention, write
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData


def test_a_dollar_is_a_dollar(model: ATRank, data: TimelineData, tmp_path: Path) -> None:
    query = find_query(data.batches("test", BatchOptions(num_negatives=2)))
    assert query is not None
    shown = case(model, *query, object_names(data.directory / "objects", data.schema))
    shown.behaviors["object"] = r"$x_$ \foo$"
    shown.candidates["object"] = r"price $\foo$"
    figures = {"self": draw_self_attention(shown), "vanilla": draw_vanilla_attention(shown)}
    for path in write(figures, tmp_path):
        assert path.stat().st_size
