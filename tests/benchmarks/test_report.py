"""The report: its numbers and figures, of results that are made up."""

import json
from pathlib import Path
from typing import Any

from benchmarks import report


def test_report(tmp_path: Path) -> None:
    def form(name: str, seed: int, *curve: tuple[float, float]) -> dict[str, Any]:
        return {
            "form": name,
            "max_history": 100,
            "seed": seed,
            "targets_per_second": 1000.0 if name == "naive" else 9000.0,
            "useful_token_share": 0.5,
            "flops": 2e9,
            "matmul_peak_flops": {"2048": 8e9},
            "seconds_to_first_step": 3.0,
            "scoring_seconds": 2.0,
            "peak_memory_bytes": 2**30,
            "curve": [{"seconds": s, "validation_auc": a, "test_auc": a - 0.01} for s, a in curve],
        }

    step = {"vary": "groups", "value": 1, "tables": "adam", "median_seconds": 0.01}
    step |= {"low_seconds": 0.009, "high_seconds": 0.02, "peak_memory_bytes": 2**30}
    library = {"name": "DIN", "targets_per_second": 300.0, "peak_rss_bytes": 2**30}
    library["curve"] = form("x", 1, (100, 0.85))["curve"]
    results = {
        "forms": [
            form("causal", 1, (2, 0.7), (5, 0.86), (9, 0.9)),
            form("causal", 2, (2, 0.85), (5, 0.8), (9, 0.8)),
            form("paper", 1, (2, 0.75), (5, 0.8), (9, 0.82)),
            form("naive", 1, (50, 0.7), (100, 0.85)),
        ],
        "profile": {
            "sizes": [{"max_tokens": 3072, "targets": 800.0, "seconds": 0.03}],
            "fixed_seconds": 0.01,
            "seconds_a_target": 25e-6,
            "parts": [
                {"name": "attention", "milliseconds": 7.0},
                {"name": "optimizer", "milliseconds": 3.0},
            ],
            "kinds": [
                {"name": "MatMul", "milliseconds": 7.0},
                {"name": "Mul", "milliseconds": 3.0},
            ],
        },
        "steps": [step, {**step, "value": 2, "median_seconds": 0.015}],
        "pipeline": [{"training": "paper", "pipeline": 5e4, "trained": 2e3, "ratio": 25.0}],
        "other_libraries": [library],
    }
    text = report.text(json.loads(json.dumps(results)))
    head = "| causal | 100 | 1 | 9,000 | 9.0 | 50% | 2 of 8 (25%) | 3.0 s |"
    assert f"{head} 2.0 s | 0.9000 / 0.8900, 9 s |" in text
    assert "| 100 | 0.8500, 100 s, still rising | causal, 100 | 1 | 4.7 s | 21.1 |" in text
    assert "| 100 | 0.8500, 100 s, still rising | causal, 100 | 2 | 2.0 s | 49.8 |" in text
    assert "| 100 | 0.8500, 100 s, still rising | paper, 100 | 1 | not reached | - |" in text
    assert "| 3,072 | 800 | 30.0 ms | 33% |" in text
    assert "A step takes 10.0 ms, whatever its size, and 25 microseconds a target." in text
    assert "| optimizer | 3.00 ms | 30% |" in text
    assert "| MatMul | 7.00 ms | 70% |" in text
    assert "| groups | 2 | adam | 15.0 ms (9.0 to 20.0) | 1.50 | 1.00 GiB |" in text
    assert "| paper | 50,000 | 2,000 | 25.0 |" in text
    figures = report.draw(results, tmp_path)
    assert [path.name for path in figures] == ["time_to_auc.svg", "step_time.svg"]
    assert all("<svg" in path.read_text() for path in figures)
    assert "| DIN | 300 | 0.8500 / 0.8400, 100 s | 30.0 | 29.8 | 1.00 GiB |" in text
