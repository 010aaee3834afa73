"""A profile, summed by part and by kind."""

from typing import Any

from benchmarks import profile_step


def test_a_profile_is_summed_by_part_and_by_kind() -> None:
    def operation(name: str, microseconds: float) -> dict[str, Any]:
        kind = name.rsplit("/", 1)[-1]
        full = f"StatefulPartitionedCall/{name}"
        return {"operation": full, "type": kind, "total_self_time": microseconds}

    operations = [
        operation("UnsortedSegmentSum", 4000.0),  # The sum of repeated rows.
        operation("row_sparse/Mul", 2000.0),
        operation("gradient_tape/at_rank_1/self_attention_0_1/attention_1/MatMul", 9000.0),
        operation("at_rank_1/self_attention_0_1/attention_norm_1/Mul", 1000.0),
        operation("at_rank_1/movie_behaviors_1/movie_objects_1/UnsortedSegmentSum", 500.0),
        operation("at_rank_1/vanilla_attention_1/relative_time_bias_1/clip_by_value", 100.0),
    ]
    assert profile_step.by(operations, 4, profile_step.part) == [
        {"name": "self-attention", "milliseconds": 2.25},
        {"name": "optimizer", "milliseconds": 1.5},
        {"name": "layer normalizations", "milliseconds": 0.25},
        {"name": "behaviors and candidates", "milliseconds": 0.125},
        {"name": "relative time biases", "milliseconds": 0.025},
    ]
    kinds = profile_step.by(operations, 4, lambda o: o["type"])
    names = [kind["name"] for kind in kinds]
    assert names == ["MatMul", "UnsortedSegmentSum", "Mul", "clip_by_value"]
