"""What TensorFlow Serving is started with, beside the directory of a model's versions.

The server's images mount the directory that holds all of it as /models.
"""

import shlex
from pathlib import Path

from data_pipeline.core import durable
from export.release import versions

# Requests of different histories are joined: they are padded to one width, with each tensor's
# first element. The lengths that every signature takes say what is real.
_BATCHING = """\
max_batch_size { value: 128 }
batch_timeout_micros { value: 1000 }
num_batch_threads { value: 4 }
max_enqueued_batches { value: 100 }
pad_variable_length_inputs: true
"""

_MONITORING = """\
prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }
"""

_MODELS = """\
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

_COMPOSE = """\
# docker compose up
services:
  serving:
    image: tensorflow/serving:latest  # On a GPU: tensorflow/serving:latest-gpu, and `gpus: all`.
    command:
      - --model_config_file=/models/models.config
      - --monitoring_config_file=/models/monitoring.config
      - --enable_batching=true
      - --batching_parameters_file=/models/batching.config
      - --file_system_poll_wait_seconds=5
    # For this machine alone: put a proxy with TLS and authentication before it for others.
    ports: ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    volumes: [".:/models:ro"]
    restart: unless-stopped
"""


def write(export_base: Path) -> list[Path]:
    """Writes `models.config`, `batching.config`, `monitoring.config` and `compose.yaml`.

    They lie beside `export_base`. Those that are there already are left as they are: they may
    have been changed for the machine that they run on.

    Args:
        export_base: Directory of the model's versions; its name is the model's.

    Returns:
        The files that were written.

    Example:

    >>> (tmp / "serving").mkdir()
    >>> [path.name for path in write(tmp / "serving" / "atrank")]
    ['models.config', 'batching.config', 'monitoring.config', 'compose.yaml']
    """
    files = {
        "models.config": _MODELS.format(name=versions.model_name(export_base)),
        "batching.config": _BATCHING,
        "monitoring.config": _MONITORING,
        "compose.yaml": _COMPOSE,
    }
    written = []
    for name, text in files.items():
        path = export_base.resolve().parent / name
        if not path.exists():
            partial = path.with_name(f"{name}.partial")
            partial.write_text(text, encoding="utf-8")
            durable.replace(partial, path)
            written.append(path)
    return written


def config_without(export_base: Path) -> Path | None:
    """Returns `models.config` where it was written for other models and does not name this one.

    Args:
        export_base: Directory of the model's versions; its name is the model's.

    Example:

    >>> written = write(tmp / "atrank")
    >>> config_without(tmp / "atrank")
    >>> config_without(tmp / "other").name
    'models.config'
    """
    path = export_base.resolve().parent / "models.config"
    is_named = f'"{versions.model_name(export_base)}"' in path.read_text(encoding="utf-8")
    return None if is_named else path


def docker_line(export_base: Path, *, gpu: bool = False) -> str:
    """Returns the one line that serves a model, on a CPU or a GPU.

    Args:
        export_base: Directory of the model's versions; its name is the model's.
        gpu: Whether to serve it on a GPU.

    Example:

    >>> print(docker_line(Path("/serving/atrank")))
    docker run --rm -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 -v /serving/atrank:/models/atrank
    -e MODEL_NAME=atrank tensorflow/serving:latest
    """
    directory, name = export_base.resolve(), versions.model_name(export_base)
    devices, image = ("--gpus all ", "latest-gpu") if gpu else ("", "latest")
    return (
        f"docker run --rm {devices}-p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 "
        f"-v {shlex.quote(str(directory))}:/models/{name} "
        f"-e MODEL_NAME={name} tensorflow/serving:{image}"
    )
