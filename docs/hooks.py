"""Pages that are made from the code: the options and the API reference."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from data_pipeline.core import cli
from data_pipeline.core.options import bounds_in_words, options

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("data_pipeline", "atrank_tf", "export")
_TYPES = {
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "array": "list",
    "object": "by name",
    "enum": "choice",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists the pages of the API reference in the navigation."""
    pages = [{folder: _api_path(folder)} for folder in _folders()]
    config.nav = [*(config.nav or []), {"API reference": pages}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made from the code, and the changelog of the repository."""
    pages = {
        "changelog.md": (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "options.md": _options_page(),
        **{_api_path(folder): _api_page(folder) for folder in _folders()},
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def _folders() -> list[str]:
    """The packages and their folders, dotted."""
    return [
        ".".join(path.parent.relative_to(_ROOT).parts)
        for package in _PACKAGES
        for path in sorted((_ROOT / package).rglob("__init__.py"))
    ]


def _api_path(folder: str) -> str:
    return f"api/{folder}.md"


def _api_page(folder: str) -> str:
    """The page of a folder: its own docstring, then its modules. Commands are their `--help`."""
    names = sorted(
        path.stem
        for path in (_ROOT / folder.replace(".", "/")).glob("*.py")
        if not path.stem.startswith("_")
    )
    own = ["    options:", "      members: false", "      show_root_heading: false"]
    lines = [f"# {folder}", "", f"::: {folder}", *own]
    for name in names:
        lines += ["", f"::: {folder}.{name}"]
    return "\n".join(lines) + "\n"


def _options_page() -> str:
    cli.import_tensorflow_quietly()  # Models say which arguments they have.
    from atrank_tf.experiment.suites import Budget
    from atrank_tf.models import registry
    from atrank_tf.train.settings import Settings

    lines = [
        "# Options",
        "",
        "`Settings` are the options of a training run: in Python, as flags of",
        "`python -m atrank_tf.train`, and in the JSON file that `--config` takes.",
        "`BatchOptions` are those of its section Batches. This page is made of the same classes",
        "as the flags and their `--help`.",
    ]
    sections: dict[str, list[str]] = {}
    for option in [*options(Settings), *options(Budget)]:
        default = "" if option.default in (None, [], {}) else option.default
        row = _row(option.name, option.kind, default, option.meaning)
        sections.setdefault(option.section, []).append(row)
    sections["Budget"] = sections.pop("Budget")
    for section, rows in sections.items():
        lines += ["", f"## {section}", ""]
        if section == "Budget":
            lines += ["Of `python -m atrank_tf.experiment`.", ""]
        lines += [*_head("type", "range", "default", "meaning"), *rows]
    lines += ["", "## Arguments of the models", ""]
    lines += ["`model_settings` in Python and JSON, flags of their own on the command line.", ""]
    lines += _head("type", "range", "default", "meaning", "models")
    for name, by_model in registry.arguments_by_name().items():
        first = next(iter(by_model.values()))
        kind = {"type": first.kind, "enum": list(first.choices)}
        defaults = {str(argument.default) for argument in by_model.values()}
        default = (
            first.default
            if len(defaults) == 1
            else ", ".join(f"{model} {argument.default}" for model, argument in by_model.items())
        )
        lines.append(_row(name, kind, default, first.meaning, ", ".join(by_model)))
    return "\n".join(lines) + "\n"


def _head(*columns: str) -> list[str]:
    return [f"| option | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]


def _row(name: str, kind: Mapping[str, Any], default: Any, meaning: str, *more: str) -> str:
    is_choice = bool(kind.get("enum"))
    cells = [
        f"`{name}`",
        _TYPES["enum" if is_choice else kind["type"]],
        ", ".join(f"`{value}`" for value in kind["enum"]) if is_choice else _range(kind),
        "" if default == "" else f"`{default}`",
        meaning,
        *more,
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _range(kind: Mapping[str, Any]) -> str:
    """What a JSON schema allows: "1 or more", "each above 0"."""
    values = kind.get("items", kind.get("additionalProperties", kind))
    bounds = bounds_in_words(values) if isinstance(values, Mapping) else ""
    return bounds if values is kind or not bounds else f"each {bounds}"
