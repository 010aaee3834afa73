"""In place of a loaded version."""

from pathlib import Path


class Loaded:
    """In place of a `Servable`, which takes its time to load."""

    def __init__(self, directory: Path) -> None:
        if not (directory / "saved_model.pb").exists():
            raise OSError("SavedModel file does not exist")
        self.version = int(directory.name)
        self.closed = False

    def close(self) -> None:
        self.closed = True
