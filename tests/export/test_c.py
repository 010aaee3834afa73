"""The export without Python: a program in C that links TensorFlow alone."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import REPOSITORY
from tests.export.inputs import QUERY_TIME, example


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_program_in_c_gets_the_same_scores(saved_model: Path, ask: Any, tmp_path: Path) -> None:
    tensorflow = Path(tf.__file__).parent
    libraries = [f"{tensorflow}/libtensorflow_{part}.so.2" for part in ("cc", "framework")]
    program = str(tmp_path / "score")
    source = str(REPOSITORY / "examples/score.c")
    include = f"{tensorflow}/include"
    command = ["gcc", "-I", include, source, "-o", program, *libraries, f"-Wl,-rpath,{tensorflow}"]
    subprocess.run(command, check=True)

    history = {"item_objects": [101], "item_actions": ["buy"], "item_times": [QUERY_TIME - 5]}
    examples = [
        example(**history, candidate=[110], request_time=[QUERY_TIME]),
        example(candidate=[105], request_time=[QUERY_TIME]),
    ]
    files = []
    for number, serialized in enumerate(examples):
        files.append(tmp_path / f"{number}.example")
        files[-1].write_bytes(serialized)
    names = tensors(saved_model)
    done = subprocess.run(
        [program, str(saved_model), *names, *map(str, files)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = ask("score_examples", {"inputs": np.array(examples, object)})["outputs"]
    np.testing.assert_allclose([float(line) for line in done.stdout.split()], expected, atol=1e-6)

    done = subprocess.run([program, "no", *names, "x"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: Could not find SavedModel")


def tensors(saved_model: Path) -> list[str]:
    """Operation of the input, and operation and index of the output."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(saved_model))
        signature = loaded.signature_def["score_examples"]
        return [
            signature.inputs["inputs"].name.split(":")[0],
            *signature.outputs["outputs"].name.split(":"),
        ]
