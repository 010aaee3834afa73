"""What a directory of prepared data holds, in a few lines."""

from data_pipeline.manifest import Manifest


def format_summary(manifest: Manifest, directory: str) -> str:
    """Returns how much of what was prepared, what was left out, and what is missing.

    Args:
        manifest: The manifest of the directory.
        directory: The directory, as it is to be shown.

    Example:

    >>> print(format_summary(Manifest.load(toy_data()), "data/mine"))
    wrote data/mine: 24 users, ... MB of timelines
      ...events.parquet: 600 rows, 600 kept, 0 left out
      item: ... events
    ...
    """
    size = sum(shard.bytes for shard in manifest.shards)
    lines = [f"wrote {directory}: {manifest.users:,} users, {size / 1e6:.1f} MB of timelines"]
    for source in manifest.sources:
        layout = f" ({source.layout})" if source.layout else ""
        left_out = source.rows - source.kept
        lines.append(
            f"  {source.file}{layout}: {source.rows:,} rows, {source.kept:,} kept, "
            f"{left_out:,} left out"
        )
    for group, count in manifest.events.items():
        lines.append(f"  {group}: {count:,} events")
    lines.append(f"  dates: {manifest.dates[0]} to {manifest.dates[1]}")
    lines += [f"  {note}" for note in manifest.notes]
    if manifest.merged:
        lines.append(f"  merged: {manifest.merged:,} duplicates (duplicates: keep, or fail)")
    for split, targets in manifest.targets.items():
        counts = ", ".join(f"{n:,} targets of {target}" for target, n in targets.items())
        lines.append(f"  {split}: {counts}")
    for split, targets in manifest.targets.items():
        if not sum(targets.values()):
            first, last = manifest.time_range
            lines.append(
                f"  warning: no targets for {split}; the events' times are {first} to {last}"
            )
            continue
        for target, count in targets.items():
            if not count:
                lines.append(
                    f"  warning: no {split} targets of {target}; --targets leaves it out of a model"
                )
    for target, share in manifest.repeats.items():
        lines.append(f"  {share:.1%} of the training targets of {target} are repeats")
    for reason, count in manifest.rejected.items():
        lines.append(f"  left out: {count:,} rows: {reason} (see rejected.jsonl)")
    return "\n".join(lines)
