"""Imports TensorFlow without the screenful that it prints about devices it does not find."""

import os
import sys

# Errors are raised as exceptions; what this hides is the log of failed device probing.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _import_tensorflow() -> None:
    # TensorFlow writes to the file descriptor before it reads any setting of its log.
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


if "tensorflow" not in sys.modules:
    _import_tensorflow()
