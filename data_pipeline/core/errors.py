"""What is raised for a user's mistake."""


class UserError(ValueError):
    """Something that the user can put right: a file, a column, a value, a setting.

    The message is one line that says where the fault is, what was found and
    what was expected. Command lines print it and exit with status 1; library
    callers catch it like any `ValueError`.
    """


class DivergedError(UserError):
    """A loss or a score is no number any more."""
