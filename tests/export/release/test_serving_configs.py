"""What servers are started with."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from export.release import serving_configs


def test_what_servers_are_started_with(tmp_path: Path) -> None:
    (tmp_path / "batching.config").write_text("mine")
    written = serving_configs.write(tmp_path / "other")
    assert {p.name for p in written} == {"models.config", "monitoring.config", "compose.yaml"}
    assert (tmp_path / "batching.config").read_text() == "mine"
    assert serving_configs.write(tmp_path / "other") == []
    models = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((tmp_path / "models.config").read_text(), models)
    (config,) = models.model_config_list.config
    assert (config.name, config.base_path) == ("other", "/models/other")
    (tmp_path / "batching.config").unlink()
    serving_configs.write(tmp_path / "other")
    # First elements tell nothing, lengths do: so inputs may be padded to one width.
    assert "pad_variable_length_inputs: true" in (tmp_path / "batching.config").read_text()
    line = serving_configs.docker_line(tmp_path / "other", gpu=True)
    assert f"-v {tmp_path.resolve()}/other:/models/other -e MODEL_NAME=other" in line
    assert "--gpus all" in line
    assert serving_configs.config_without(tmp_path / "other") is None
    assert serving_configs.config_without(tmp_path / "third") == tmp_path / "models.config"
