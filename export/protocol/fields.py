"""The one place that knows how the signatures, and the tensors of a request, are named."""

import dataclasses

from data_pipeline.schema import Group, Schema

REQUEST_TIME = "request_time"
CANDIDATE = "candidate"
CANDIDATES = "candidates"
NUM_CANDIDATES = "num_candidates"
EXAMPLES = "inputs"

SCORE = "score"
LOGIT = "logit"
REGRESSION = "outputs"  # Servers regress by a signature that has this output alone.

# The user state, which `encode` returns and `score_memory` takes.
STATE = "memory"
STATE_LENGTH = "memory_length"
STATE_VERSION = "memory_version"
# Of models that look candidates up: what the user touched, and how many touches there are.
TOUCHED = "memory_touched"
TOUCHED_LENGTH = "memory_touched_length"

# Of an explanation by such a model: what its look-ups found, int64 [batch, numbers].
RECURRENCE = "recurrence"

# What each target has a signature for. `encode` is one for all of them.
VERBS = ("score", "score_candidates", "score_examples", "score_memory", "explain")


@dataclasses.dataclass(frozen=True)
class HistoryFields:
    """Names of the tensors that carry one group's history in a request.

    Args:
        group: The group.

    Example:

    >>> HistoryFields(Group("product")).times
    'product_times'
    """

    group: Group

    @property
    def objects(self) -> str:
        """Raw object ids, int64 or string [batch, T], in any order."""
        return f"{self.group.name}_objects"

    @property
    def times(self) -> str:
        """Timestamps in the schema's time unit, int64 [batch, T]."""
        return f"{self.group.name}_times"

    @property
    def actions(self) -> str:
        """Actions, string [batch, T]; sent only by groups that list several."""
        return f"{self.group.name}_actions"

    @property
    def length(self) -> str:
        """How many of the T are real, int64 [batch]."""
        return f"{self.group.name}_length"

    @property
    def columns(self) -> dict[str, str]:
        """Names of the tensors [batch, T], by what they hold: those that the group sends."""
        columns = {"objects": self.objects, "times": self.times}
        return columns | ({"actions": self.actions} if self.group.actions else {})

    @property
    def weights(self) -> str:
        """Of an explanation: how much is read of each behavior, float32 [batch, T]."""
        return f"{self.group.name}_weights"


def state_part(key: str) -> str:
    """Returns the name of the tensor that carries a part of the user state.

    Args:
        key: The part's key, where the user state is a dict.

    Example:

    >>> state_part("keys_values")
    'memory_keys_values'
    """
    return f"{STATE}_{key}"


def signature_name(schema: Schema, target: str, verb: str = "score") -> str:
    """Returns the name of a target's signature for one of `VERBS`; of "encode" its own.

    The first target's are named like the verbs, but `serving_default` for "score"; those of
    any other have its name behind two underscores.

    Example:

    >>> schema = Schema(groups=(Group("product"), Group("coupon")), targets=("product", "coupon"))
    >>> signature_name(schema, "product"), signature_name(schema, "coupon", "score_candidates")
    ('serving_default', 'score_candidates__coupon')
    """
    if verb != "encode" and target != schema.target_names[0]:
        return f"{verb}__{target}"
    return "serving_default" if verb == "score" else verb
