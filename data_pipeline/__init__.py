"""Logs of behavior in, ragged batches for training, evaluation and export out."""

import importlib
from typing import TYPE_CHECKING, Any

from data_pipeline.version import __version__

if TYPE_CHECKING:
    from data_pipeline.batches.options import BatchOptions
    from data_pipeline.core.errors import UserError
    from data_pipeline.dataset import TimelineData
    from data_pipeline.schema import Columns, Feature, Group, Schema, Split, Target, Vocabulary

__all__ = [
    "BatchOptions",
    "Columns",
    "Feature",
    "Group",
    "Schema",
    "Split",
    "Target",
    "TimelineData",
    "UserError",
    "Vocabulary",
    "__version__",
]

_MODULES = {
    "BatchOptions": "data_pipeline.batches.options",
    "TimelineData": "data_pipeline.dataset",
    "UserError": "data_pipeline.core.errors",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: `TimelineData` loads TensorFlow, clients do not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES.get(name, "data_pipeline.schema")), name)
