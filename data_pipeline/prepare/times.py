"""Timestamps of logs: of any spelling, in one unit, and nothing cut without a word."""

import dataclasses
import datetime
import re
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from data_pipeline.core.errors import UserError
from data_pipeline.plain_types import as_floats, as_text
from data_pipeline.prepare.parsing import Problem

TimeUnit = Literal["s", "ms"]
PER_SECOND: dict[str, int] = {"s": 1, "ms": 1000}

_NUMBER = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
_COMPACT_DATE = r"^(19[9][0-9]|20[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$"
_COMPACT_DATES = (19900101, 20991231)
_LATEST = pd.Timestamp("2200-01-01")
_LATE_EXPECTED = "a time before the year 2200"
# Of seconds these would be thousands of years from now.
_SMALLEST_MILLISECONDS = 1e11
# The dates of logs that people keep.
_USUAL = (datetime.datetime(1990, 1, 1), datetime.datetime(2100, 1, 1))


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the timestamps of a column look like.

    Attributes:
        numbers: How many are numbers.
        large: How many of those would be thousands of years from now, if they were seconds.
        is_finer: Whether any is finer than a second.

    Example:

    >>> Survey(numbers=5, large=1).number_unit  # One of five is rather a mistake.
    's'
    """

    numbers: int = 0
    large: int = 0
    is_finer: bool = False

    def joined(self, other: "Survey") -> "Survey":
        """Returns that of both columns."""
        return Survey(
            self.numbers + other.numbers,
            self.large + other.large,
            self.is_finer or other.is_finer,
        )

    @property
    def number_unit(self) -> TimeUnit:
        """The unit of the numbers: what most of them can be."""
        return "ms" if 2 * self.large > self.numbers else "s"

    @property
    def unit(self) -> TimeUnit:
        """The unit that holds them all."""
        return "ms" if self.is_finer else self.number_unit


def survey(column: pa.ChunkedArray) -> Survey:
    """Returns what the timestamps of a column look like.

    Example:

    >>> survey(pa.chunked_array([["1500000000", "2017-07-14 02:40:00.250"]]))
    Survey(numbers=1, large=0, is_finer=True)
    """
    numbers, microseconds = _read(column)
    sizes = np.abs(numbers[np.isfinite(numbers)])
    is_large = sizes >= _SMALLEST_MILLISECONDS
    small = sizes[~is_large]
    is_finer = bool(np.any(microseconds % 1_000_000 > 0) or np.any(small != np.floor(small)))
    return Survey(len(sizes), int(is_large.sum()), is_finer)


def parse_times(
    column: pa.ChunkedArray, name: str, unit: str, number_unit: str = ""
) -> tuple[np.ndarray, list[Problem], int]:
    """Converts timestamps.

    Args:
        column: Numbers, datetimes or dates (UTC unless they say otherwise), or strings of
            either kind.
        name: Its name.
        unit: "s" or "ms".
        number_unit: That of the numbers; by default the same.

    Returns:
        int64 [rows] in `unit`; the rows that hold no time; and how many times were finer than the
        unit, and were cut.

    Example:

    >>> times, _, num_cut = parse_times(pa.chunked_array([["60", "1970-01-02", "noon"]]), "t", "s")
    >>> times.tolist(), num_cut
    ([60, 86400, 0], 0)
    """
    is_null = pc.is_null(column).to_numpy()
    numbers, microseconds = _read(column)
    per_second = PER_SECOND[unit]
    is_date = ~np.isnan(microseconds)
    times = np.where(
        is_date,
        microseconds / (1_000_000 // per_second),
        numbers * (per_second / PER_SECOND[number_unit or unit]),
    )
    is_finite = np.isfinite(times)
    is_negative = is_finite & (times < 0)
    is_late = is_finite & (times >= _LATEST.timestamp() * per_second)
    is_good = is_finite & ~is_negative & ~is_late
    # Up to the year 2200 a float holds every second and millisecond exactly.
    values = np.where(is_good, times, 0).astype(np.int64)
    num_cut = int((is_good & (values != times)).sum())
    hint = _LATE_EXPECTED
    if (number_unit or unit) == "s":
        hint += " (if it is in milliseconds, set time_unit to ms)"
    return (
        values,
        [
            Problem(is_null, name, "a time", "null time"),
            Problem(
                ~is_finite & ~is_null, name, "a number or an ISO 8601 datetime", "unreadable time"
            ),
            Problem(is_negative, name, "a time of 0 or more", "negative time"),
            Problem(is_late & is_date, name, _LATE_EXPECTED, "time beyond the year 2200"),
            Problem(is_late & ~is_date, name, hint, "time beyond the year 2200"),
        ],
        num_cut,
    )


def parse_split_time(value: int | str | None, name: str, unit: str) -> int:
    """Converts a setting, an integer in `unit` or an ISO 8601 date or datetime, to an integer.

    Args:
        value: The setting.
        name: Its name.
        unit: "s" or "ms".

    Raises:
        UserError: It is neither.

    Example:

    >>> parse_split_time("1970-01-02", "split.test_start", "ms")
    86400000
    """
    if value is None:
        raise UserError(f"{name}: missing; a split by time needs it")
    per_second = PER_SECOND[unit]
    try:
        if isinstance(value, str) and not re.fullmatch(r"[0-9]+", value):
            stamp = datetime.datetime.fromisoformat(value)
            stamp = stamp if stamp.tzinfo else stamp.replace(tzinfo=datetime.UTC)
            time = int(stamp.timestamp() * per_second)
        else:
            time = int(value)
    except ValueError as error:
        raise UserError(f"{name}: {value!r}: expected an ISO 8601 date or datetime") from error
    if not 0 <= time < _LATEST.timestamp() * per_second:
        raise UserError(f"{name}: {value!r}: expected a time between 1970 and 2200")
    return time


def as_date(time: int, unit: str) -> datetime.datetime:
    """Returns a time as a datetime, UTC.

    Example:

    >>> as_date(86_400_000, "ms").isoformat()
    '1970-01-02T00:00:00'
    """
    since = datetime.timedelta(seconds=time / PER_SECOND[unit])
    return datetime.datetime(1970, 1, 1) + since


def check_span(first: int, last: int, unit: str) -> str:
    """Checks that logs are of dates that logs are of.

    Args:
        first: Their first time.
        last: Their last.
        unit: Of both.

    Returns:
        What to mind: "" where all lie between 1990 and 2100.

    Raises:
        UserError: They do not, and would in another unit.

    Example:

    >>> check_span(1_500_000_000, 1_600_000_000, "ms")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: time_unit is 'ms': the events' times would be of ...
    """
    if _is_usual(first, last, unit):
        return ""
    dates = f"{as_date(first, unit):%Y-%m-%d} to {as_date(last, unit):%Y-%m-%d}"
    for other, per_second in PER_SECOND.items():
        if last < _LATEST.timestamp() * per_second and _is_usual(first, last, other):
            others = f"{as_date(first, other):%Y-%m-%d} to {as_date(last, other):%Y-%m-%d}"
            raise UserError(
                f"time_unit is {unit!r}: the events' times would be of {dates}, in {other} of "
                f"{others}: set it to {other!r}"
            )
    return f"times are of {dates}: gaps mean days and hours of a clock, whatever they count"


def _is_usual(first: int, last: int, unit: str) -> bool:
    return _USUAL[0] <= as_date(first, unit) and as_date(last, unit) <= _USUAL[1]


def _read(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, and microseconds of datetimes: float64 [rows] each, NaN where it is none."""
    kind, nothing = column.type, np.full(len(column), np.nan)
    if pt.is_timestamp(kind) or pt.is_date(kind):
        zone = getattr(kind, "tz", None)
        stamps = pc.cast(column, pa.timestamp("us", zone), safe=False)
        return nothing, as_floats(pc.cast(stamps, pa.int64()))
    is_numeric = pt.is_integer(kind) or pt.is_floating(kind)
    if is_numeric and not _may_be_dates(numbers := as_floats(column)):
        return numbers, nothing
    text = as_text(column)
    is_compact = pc.match_substring_regex(text, _COMPACT_DATE).fill_null(True)
    if text.null_count < len(text) and pc.all(is_compact).as_py():  # Seconds never look like that.
        return nothing, _microseconds(text.to_pandas())
    if is_numeric:
        return numbers, nothing
    is_number = pc.match_substring_regex(text, _NUMBER).fill_null(False).to_numpy(False)
    strings = text.to_pandas().to_numpy(object)
    numbers, microseconds = nothing, nothing.copy()
    numbers[is_number] = strings[is_number].astype(np.float64)
    is_date = pc.match_substring_regex(text, r"^\s*[0-9]").fill_null(False).to_numpy(False)
    is_date &= ~is_number  # Nor words, such as "now".
    if is_date.any():
        microseconds[is_date] = _microseconds(pd.Series(strings[is_date]))
    return numbers, microseconds


def _may_be_dates(numbers: np.ndarray) -> bool:
    """Whether numbers are all as large as dates of eight digits: to write them out takes longer."""
    real = numbers[~np.isnan(numbers)]
    return bool(np.all((real >= _COMPACT_DATES[0]) & (real <= _COMPACT_DATES[1])))


def _microseconds(text: pd.Series) -> np.ndarray:
    """Datetimes as programs write them, in microseconds: float64, NaN where it is none."""
    text = text.str.strip().str.replace(r"\s*(UTC|GMT|Z)$", "+00:00", regex=True)
    text = text.str.replace(r"\s+([+-]\d\d):?(\d\d)$", r"\1:\2", regex=True)
    stamps = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
    values = stamps.dt.as_unit("us").to_numpy("datetime64[us]")
    numbers = np.where(np.isnat(values), np.nan, values.astype(np.int64))
    for position in np.flatnonzero(np.isnan(numbers)).tolist():
        try:  # Pandas knows none that is hundreds of years away.
            stamp = datetime.datetime.fromisoformat(text.iloc[position])
        except ValueError:
            continue
        stamp = stamp if stamp.tzinfo else stamp.replace(tzinfo=datetime.UTC)
        numbers[position] = stamp.timestamp() * 1e6
    return numbers
