"""A suite that is trained in seconds."""

from atrank_tf.experiment.suites import Budget, Entry
from atrank_tf.train.settings import Settings
from tests.atrank_tf.sizes import TINY

BUDGET = Budget(seeds=2, seconds=0.3, learning_rates=[0.004], negatives=20)
ENTRIES = [
    Entry(
        "atrank small",
        Settings(model_settings=TINY, groups=["item"], targets=["item"]),
        is_reference=True,
    ),
    Entry("bpr one2one item", Settings(model="bpr", groups=["item"], targets=["item"])),
    Entry("popularity", Settings(model="popularity")),
]
