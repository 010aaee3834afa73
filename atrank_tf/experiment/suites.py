"""The suites of the paper's experiments: which models are trained, and what each is given."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Annotated, Any

from pydantic import Field

from atrank_tf.models.registry import looks_up, model_class, model_names
from atrank_tf.train.settings import Settings
from data_pipeline.core.options import Options
from data_pipeline.schema import Schema


class Budget(Options):
    """Budget: what every model of a suite is given alike.

    Example:

    >>> Budget(seeds=1, seconds=60.0).tuning_seconds
    30.0
    """

    seeds: Annotated[int, Field(ge=1)] = 3
    """Trainings of each model, with seeds from 1 on."""

    seconds: Annotated[float, Field(gt=0)] = 600.0
    """Seconds of each training; less where validation stops rising."""

    learning_rates: list[Annotated[float, Field(gt=0)]] = [0.001, 0.002, 0.004, 0.008]  # noqa: RUF012
    """Learning rates to try with each model, each for half of --seconds. The one with the best
    validation AUC is taken; a single one is taken as it is, and with an empty list each model's
    default."""

    negatives: Annotated[int, Field(ge=1)] = 99
    """Negatives of each test query, where targets are not labelled. In validation they are 99."""

    @property
    def tuning_seconds(self) -> float:
        """Seconds of training for each learning rate that is tried.

        In less a rate wins that is soonest, and is too high for the whole time.
        """
        return self.seconds / 2


FULL = Budget()
FAST = Budget(seeds=1, seconds=30.0, learning_rates=[])


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of a suite's tables.

    Attributes:
        label: How it is called.
        settings: What it is trained with.
        is_reference: Whether those below it are compared with it.

    Example:

    >>> Entry("atrank", Settings(), is_reference=True).settings.model
    'atrank'
    """

    label: str
    settings: Settings
    is_reference: bool = False


_REFERENCE = Settings().model  # The package's own model.


def single(schema: Schema) -> list[Entry]:
    """Every model reads the first target's group alone and predicts it: one2one.

    Those that are trained come with look-ups and without: what habits give to each, and what each
    is without them.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> entry = single(schema)[0]
    >>> entry.settings.model, entry.settings.groups, entry.settings.targets
    ('atrank', ['item'], ['item'])
    """
    entries = _of_first_target(model_names(), schema)
    trained = [entry for entry in entries if model_class(entry.settings.model).is_trained]
    return [*entries, *map(_other_way, trained)]


def multi(schema: Schema) -> list[Entry]:
    """ATRank in one2one, all2one and all2all, and the paper's baselines, for each target.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> [entry.label for entry in multi(schema)][:3]
    ['atrank all2all', 'atrank all2one item', 'atrank one2one item']
    """
    entries = []
    if len(schema.target_names) > 1:
        entries.append(Entry("atrank all2all", Settings(single_target=True), is_reference=True))
    for target in schema.target_names:
        settings = Settings(targets=[target])
        entries.append(Entry(f"atrank all2one {target}", settings, is_reference=True))
        entries += [_one2one(m, schema, target, f"{m} one2one {target}") for m in _paper_models()]
    return entries


def density(schema: Schema) -> list[Entry]:
    """ATRank, the paper's baselines and what needs no training, by density of history.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> "popularity" in [entry.label for entry in density(schema)]
    True
    """
    untrained = [name for name in model_names() if not model_class(name).is_trained]
    names = [name for name in model_names() if name in {*_paper_models(), *untrained}]
    return _of_first_target(names, schema)


def ablation(schema: Schema) -> list[Entry]:
    """ATRank with one thing changed at a time, or two that belong together.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> [entry.label for entry in ablation(schema)][:2]
    ['atrank', 'no look-ups']
    """
    changes: dict[str, dict[str, Any]] = {
        "atrank": {},
        "no look-ups": {"model_settings": {"recurrence": False}},
        "bilinear scores": {"model_settings": {"scores": "bilinear"}},
        "downstream mlp": {"model_settings": {"downstream": "mlp"}},
        "1 space": {"model_settings": {"num_spaces": 1}},
        "8 spaces": {"model_settings": {"num_spaces": 8}},
        "2 blocks": {"model_settings": {"num_blocks": 2}},
        "128 wide, 8 spaces": {"model_settings": {"width": 128, "num_spaces": 8}},
        "loss bpr": {"loss": "bpr"},
        "loss hinge": {"loss": "hinge"},
        "paper's form": {"model_settings": {"form": "paper"}},
        "paper's form, bilinear": {"model_settings": {"form": "paper", "scores": "bilinear"}},
        "paper's form, time concatenated": {
            "model_settings": {"form": "paper", "time": "concatenated"}
        },
    }
    return [
        Entry(label, Settings(**change), is_reference=not change)
        for label, change in changes.items()
    ]


def _paper_models() -> list[str]:
    return [name for name in model_names() if model_class(name).is_in_paper]


def _of_first_target(names: Collection[str], schema: Schema) -> list[Entry]:
    return [_one2one(name, schema, schema.target_names[0], name) for name in names]


def _one2one(model: str, schema: Schema, target: str, label: str) -> Entry:
    group = schema.target(target).group
    best_settings = model_class(model).best_settings
    settings = Settings(model=model, groups=[group], targets=[target], **best_settings)
    return Entry(label, settings, is_reference=model == _REFERENCE)


def _other_way(entry: Entry) -> Entry:
    """The same model with look-ups where it has none by default, and without where it has them."""
    settings = entry.settings
    does = looks_up(settings.model, settings.model_settings)
    changed = {**settings.model_settings, "recurrence": not does}
    label = f"{entry.label}, {'no ' if does else ''}look-ups"
    return Entry(label, settings.replace(model_settings=changed))


SUITES: dict[str, Callable[[Schema], list[Entry]]] = {
    "single": single,
    "multi": multi,
    "density": density,
    "ablation": ablation,
}
