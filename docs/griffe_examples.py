"""Shows the examples of docstrings as code: a griffe extension.

In the package an example stands below a line `Example:`, not indented, which doctest reads. Griffe
knows sections that are indented, under the name `Examples:`.
"""

import re
import textwrap
from typing import Any

import griffe

# Up to the next section of the docstring, or its end.
_EXAMPLE = re.compile(r"^Example:\n(?P<body>.*?)(?=^[A-Z][a-z]+:\n|\Z)", re.MULTILINE | re.DOTALL)


class Examples(griffe.Extension):
    """Rewrites the docstring of each object as griffe reads it."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites one docstring."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(_as_section, obj.docstring.value)


def _as_section(match: re.Match[str]) -> str:
    body = textwrap.dedent(match["body"]).strip("\n")
    if ">>>" in body:
        return f"Examples:\n{textwrap.indent(body, '    ')}\n\n"
    return f"**Example**\n\n```console\n{body}\n```\n\n"  # Command lines.
