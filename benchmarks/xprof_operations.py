r"""Reads a profile that TensorFlow wrote. Runs in an environment of requirements-xprof.txt.

Example:
    PYTHON_OF_THE_ENVIRONMENT benchmarks/xprof_operations.py TRACE.xplane.pb OPERATIONS.json
"""

import json
import sys
from pathlib import Path

from xprof.convert import raw_to_tool_data


def main() -> None:
    """Writes name, type and microseconds of each operation of a trace, as JSON."""
    trace, output = sys.argv[1:]
    text, _ = raw_to_tool_data.xspace_to_tool_data([trace], "framework_op_stats", {})
    table = json.loads(text)[0]
    columns = [column["id"] for column in table["cols"]]
    wanted = ("operation", "type", "total_self_time")
    positions = [columns.index(name) for name in wanted]
    rows = [[row["c"][position]["v"] for position in positions] for row in table["rows"]]
    others = ("IDLE", "Dataset")  # What is not the step's.
    operations = [dict(zip(wanted, row, strict=True)) for row in rows if row[1] not in others]
    Path(output).write_text(json.dumps(operations, indent=1) + "\n")


if __name__ == "__main__":
    main()
