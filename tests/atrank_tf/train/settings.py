"""Settings of runs that are trained fast."""

from atrank_tf.train.settings import Settings
from tests.atrank_tf.sizes import SMALL

SETTINGS = Settings(
    model_settings={**SMALL, "dropout": 0.3}, epochs=2, patience=9, max_tokens=500, seed=5
)
# For what depends on no model: it has the least to trace.
SIMPLEST = SETTINGS.replace(model="bpr", model_settings={"width": 8})
