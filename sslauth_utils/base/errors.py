"""The one exception that means "the input is at fault, not the code", and how a command tells it."""

import functools
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Bad input, told in one sentence: what is wrong, where, and what to do.

    The front door prints the sentence without a traceback; everywhere else it
    behaves like the ``ValueError`` it is.
    """


def command(main: Callable[[], None]) -> Callable[[], int]:
    """`main` with an exit status: 0, or 1 and on standard error the sentence of a `UserError`."""

    @functools.wraps(main)
    def told() -> int:
        try:
            main()
        except UserError as error:
            print(error, file=sys.stderr)
            return 1
        return 0

    return told
