"""Lists the commands of the package, in the order in which they are used, or runs one.

Example:
    python -m atrank_tf
    python -m atrank_tf train --data_dir=data/mine --model_dir=runs/mine
"""

import ast
import importlib.util
import runpy
import sys
from pathlib import Path

from data_pipeline.version import __version__

# Each is a module that `python -m` runs, too, and a console script `atrank-NAME`.
_COMMANDS = {
    "prepare": "data_pipeline.prepare",
    "train": "atrank_tf.train",
    "evaluate": "atrank_tf.evaluate",
    "experiment": "atrank_tf.experiment",
    "attention": "atrank_tf.attention",
    "export": "export.export_model",
    "verify": "export.verify",
    "score": "export.score",
    "serve": "export.serve",
    "smoke": "export.smoke",
}


def main() -> None:
    """Console script."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in _COMMANDS:
        sys.argv[1:2] = []
        runpy.run_module(_COMMANDS[name], run_name="__main__", alter_sys=True)
    elif name in ("--help", "--helpfull", "-h", "help"):
        print(_listing())
    elif name == "--version":
        print(f"atrank-tf {__version__}")
    else:
        print(f"error: {name!r}: there is no such command; atrank lists them", file=sys.stderr)
        sys.exit(2)


def _listing() -> str:
    lines = ["ATRank for TensorFlow. The commands, in the order in which they are used:", ""]
    for name, module in _COMMANDS.items():
        lines += [f"  atrank {name:<12} {_summary(module)}"]
    lines += ["", "atrank COMMAND --help explains one; so does python -m MODULE --help:", ""]
    lines += [f"  atrank {name:<12} python -m {module}" for name, module in _COMMANDS.items()]
    return "\n".join(lines)


def _summary(module: str) -> str:
    """The first line of a command's docstring; to import it would load TensorFlow."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin)
    path = path.with_name("__main__.py") if spec.submodule_search_locations else path
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]


if __name__ == "__main__":
    main()
