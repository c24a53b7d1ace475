"""The one exception that means "the input is at fault, not the code"."""


class UserError(ValueError):
    """Bad input, told in one sentence: what is wrong, where, and what to do.

    The front door prints the sentence without a traceback; everywhere else it
    behaves like the ``ValueError`` it is.
    """
