"""What is printed, and what becomes of it where nobody reads."""

import os

from export.protocol.errors import print_line


def test_a_server_goes_on_when_nobody_reads_what_it_says() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        print_line("to nobody", stream)
        print_line("nor this", stream)
