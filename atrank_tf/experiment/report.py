"""The report of a suite: what its models reached, by target, and what they cost."""

import sys
from collections.abc import Sequence
from pathlib import Path

from atrank_tf.attention import maps as attention_maps
from atrank_tf.attention import plots as attention_plots
from atrank_tf.experiment import figures, tables
from atrank_tf.experiment.figures import Styles
from atrank_tf.experiment.page import Section, write_page
from atrank_tf.experiment.runner import Results, Trial, averaged, history_lengths
from atrank_tf.experiment.suites import Budget
from atrank_tf.models.registry import model_class
from atrank_tf.run_directory import RunDirectory
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData

_ATTENTION_TEXTS = {
    "self-attention": "Each row is a behavior, and shows what it reads of the others in the "
    "first block; in the causal form of those strictly before it, so that the oldest read "
    "nothing.",
    "vanilla-attention": "What candidates read of the history, of each target the chosen ones "
    "first.",
}
_AVERAGE_TEXT = "1 is what each behavior would get if all were read alike."


def write_report(
    suite: str, results: Results, budget: Budget, data_dir: str, output_dir: str
) -> tuple[list[Section], list[Path]]:
    """Writes a suite's report, with what the first entry attends to where it can be shown.

    Args:
        suite: Its name.
        results: What `runner.run` returned.
        budget: What each entry was given.
        data_dir: Prepared data.
        output_dir: Where the report goes.

    Returns:
        The sections of the report, and the files that were written.

    Example:

    >>> from atrank_tf.experiment.runner import METRICS, PerUser, Result, Trial
    >>> from atrank_tf.experiment.suites import Entry, Settings
    >>> users = PerUser(np.array([7]), np.array([1]), dict.fromkeys(METRICS, np.array([0.7])))
    >>> costs = ("parameters", "seconds", "targets_per_second", "scoring_microseconds")
    >>> trial = Trial(tmp, {"item": users}, 0.7, [(9.0, 0.7)], dict.fromkeys(costs, 9.0))
    >>> results = {"bpr": Result(Entry("bpr", Settings(model="bpr")), [trial])}
    >>> sections, paths = write_report("mine", results, Budget(), str(toy_data()), str(tmp))
    >>> [path.name for path in paths][:3]
    ['report.html', 'report.md', 'item-metrics.csv']
    """
    output = Path(output_dir)
    first = next(iter(results.values())).entry.settings
    lengths = history_lengths(TimelineData(data_dir, first.groups, first.targets), 100_000)
    sections = suite_sections(suite, results, lengths, budget, output)
    write_page(sections, output)  # Whatever becomes of the pictures.
    try:
        sections += attention_sections(results, data_dir, output)
    except UserError as error:
        print(f"-- no pictures of attention: {error}", file=sys.stderr)
    return sections, write_page(sections, output)


def suite_sections(
    suite: str, results: Results, lengths: dict[int, int], budget: Budget, directory: Path
) -> list[Section]:
    """Returns the sections of a suite's report and draws its figures.

    Args:
        suite: Its name.
        results: What `runner.run` returned.
        lengths: What `runner.history_lengths` returned.
        budget: What each entry was given.
        directory: Where figures go.

    Example:

    >>> from atrank_tf.experiment.runner import METRICS, PerUser, Result, Trial
    >>> from atrank_tf.experiment.suites import Entry, Settings
    >>> users = PerUser(np.array([7]), np.array([1]), dict.fromkeys(METRICS, np.array([0.7])))
    >>> costs = ("parameters", "seconds", "targets_per_second", "scoring_microseconds")
    >>> trial = Trial(tmp, {"item": users}, 0.7, [(9.0, 0.7)], dict.fromkeys(costs, 9.0))
    >>> results = {"bpr": Result(Entry("bpr", Settings(model="bpr")), [trial])}
    >>> [section.title for section in suite_sections("mine", results, {7: 30}, Budget(), tmp)]
    ['Suite mine', 'item: metrics', 'item: paired differences',
    'item: AUC by density of history', 'item: the lead by density of history',
    'AUC against training time']
    """
    diverged = [label for label, result in results.items() if not result.trials]
    results = {label: result for label, result in results.items() if result.trials}
    styles = figures.line_styles(results)
    sections = [_introduction(suite, budget, diverged)]
    for target in _measured_targets(results):
        sections += _target_sections(target, results, lengths, styles, directory)
    sections.append(
        Section(
            "AUC against training time",
            "Validation AUC after each epoch, and each quarter of the time within long ones, over "
            "seeds; validation itself is not counted. "
            "The learning rate falls and the best model is chosen by epochs, of which a fast "
            "model has more: what is compared is what seconds of training give. The validation "
            "AUC is that of the models that were measured, against 99 negatives, a mean over users "
            "and targets. A candidate's scoring is the time of the test's batches for each "
            "candidate in them, with the encoding of histories, on the machine that trained.",
            tables.costs(results),
            figures.draw_curves(results, styles, directory / "curves.svg"),
        )
    )
    return sections


def attention_sections(results: Results, data_dir: str, directory: Path) -> list[Section]:
    """Returns pictures of what the first entry attends to, if it is an atrank.

    Args:
        results: What `runner.run` returned.
        data_dir: Prepared data.
        directory: Where figures go.

    Example:

    >>> from atrank_tf.experiment.runner import Result
    >>> from atrank_tf.experiment.suites import Entry, Settings
    >>> results = {"bpr": Result(Entry("bpr", Settings(model="bpr")), [])}
    >>> attention_sections(results, str(toy_data()), tmp)  # BPR attends to nothing.
    []
    """
    label, (entry, trials) = next(iter(results.items()))
    if not trials or not hasattr(model_class(entry.settings.model), "attention"):
        return []
    run = RunDirectory(trials[0].directory)
    pictures = attention_plots.draw(*attention_maps.from_run(run, data_dir))
    attention_plots.write(pictures, directory)
    return [
        Section(
            f"{label}: {name.replace('-', ' ')}",
            _ATTENTION_TEXTS.get(name, _AVERAGE_TEXT),
            figure=directory / f"{name}.svg",
        )
        for name in pictures
    ]


def _measured_targets(results: Results) -> list[str]:
    """The targets for which a user was measured."""
    return sorted(
        {
            target
            for result in results.values()
            for target, users in result.trials[0].users.items()
            if len(users.user)
        }
    )


def _introduction(suite: str, budget: Budget, diverged: Sequence[str]) -> Section:
    left_out = f" Diverged, and left out: {', '.join(diverged)}." if diverged else ""
    return Section(
        f"Suite {suite}",
        f"Each model trains {budget.seconds:g} s at most, with {budget.seeds} "
        f"seed{'s' if budget.seeds > 1 else ''} (what has nothing to train is measured once), "
        f"and is measured against {budget.negatives} "
        f"negative{'s' if budget.negatives > 1 else ''} of each query, drawn uniformly, where "
        f"targets are not labelled; {_tuning(budget)}.{left_out}",
    )


def _tuning(budget: Budget) -> str:
    rates = budget.learning_rates
    if not rates:
        return "the learning rate is its default"
    if len(rates) == 1:
        return f"the learning rate is {rates[0]} for all"
    return (
        f"each learning rate of {', '.join(map(str, rates))} was tried for "
        f"{budget.tuning_seconds:g} s, and the one with the best validation AUC taken, where "
        "there are validation targets"
    )


def _kind_sections(target: str, measured: dict[str, list[Trial]]) -> list[Section]:
    """What of a target's numbers are habits, and what is not; nothing where all are of a kind."""
    table = tables.by_kind(measured, target)
    if table.empty:
        return []
    text = (
        "Repeats: the user had touched the object before. Means over users and seeds, of those who "
        "have such targets."
    )
    return [Section(f"{target}: repeats and what is new", text, table)]


def _target_sections(
    target: str, results: Results, lengths: dict[int, int], styles: Styles, directory: Path
) -> list[Section]:
    """The sections of one target: metrics, differences, and both by density of history."""
    measured = {
        label: result.trials
        for label, result in results.items()
        if target in result.trials[0].users
    }
    users = {label: averaged(trials, target) for label, trials in measured.items()}
    labels = list(users)
    pairs = [
        (label, other)
        for position, label in enumerate(labels)
        if results[label].entry.is_reference
        for other in labels[position + 1 :]
    ]
    density = tables.density_parts(users[labels[0]].user, lengths)
    trained = {
        label: metrics
        for label, metrics in users.items()
        if model_class(results[label].entry.settings.model).is_trained
    }
    return [
        Section(
            f"{target}: metrics",
            "Means over users, with 95% bootstrap intervals over users, of each user's mean "
            "over seeds; +- is the standard deviation over seeds. GAUC weighs users by "
            "their number of positives.",
            tables.metrics(measured, target),
        ),
        *_kind_sections(target, measured),
        Section(
            f"{target}: paired differences",
            "AUC of the first less that of the second, paired by user, with 95% bootstrap "
            "intervals.",
            tables.differences(users, pairs),
        ),
        Section(
            f"{target}: AUC by density of history",
            "Users in four parts of like size, by the number of behaviors before their last "
            "query of the test, of which a model may read fewer (see the last table). "
            "The figure shows what is trained, with 1.96 standard errors.",
            tables.by_density(users, density),
            figures.draw_density(
                trained, density, styles, target, directory / f"density-{target}.svg"
            )
            if trained
            else None,
        ),
        Section(
            f"{target}: the lead by density of history",
            "AUC of the first less that of the second, paired by user, in these parts. "
            "The paper finds that ATRank's lead grows where behavior is dense.",
            tables.leads_by_density(users, pairs, density),
        ),
    ]
