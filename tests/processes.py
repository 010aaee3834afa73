"""Commands in processes of their own, forked from one that has imported TensorFlow already.

To import it takes most of the time of a command that does little.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tensorflow", "keras", "pandas", "atrank_tf", "data_pipeline"])


def run_module(
    module: str, arguments: tuple[str, ...], directory: Path, optimize: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module` with arguments in a directory.

    Args:
        module: The module.
        arguments: Of its command line.
        directory: Where it runs.
        optimize: Whether TensorFlow optimizes graphs, which takes longer than it saves here.
    """
    with tempfile.TemporaryDirectory() as streams:
        process = start_module(module, arguments, directory, streams, optimize)
        process.join()
        stdout, stderr = ((Path(streams) / name).read_text() for name in ("stdout", "stderr"))
    code = process.exitcode
    process.close()
    assert code is not None
    return subprocess.CompletedProcess([module, *arguments], code, stdout, stderr)


def start_module(
    module: str,
    arguments: tuple[str, ...],
    directory: Path,
    streams: str,
    optimize: bool = False,
) -> multiprocessing.process.BaseProcess:
    """Starts what `run_module` runs; its `stdout` and `stderr` become files in `streams`."""
    process = _FORKS.Process(target=_child, args=(module, arguments, directory, streams, optimize))
    process.start()
    return process


def _child(
    module: str, arguments: tuple[str, ...], directory: Path, streams: str, optimize: bool
) -> None:
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not optimize})
    for name, number in (("stdout", 1), ("stderr", 2)):
        file = os.open(Path(streams) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
    os.chdir(directory)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
