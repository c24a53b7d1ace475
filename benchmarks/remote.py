"""A contender in a process of its own, so that none runs with another's threads or memory."""

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any


class Remote:
    """The object that `make(*arguments)` returns, elsewhere; call it with a method's name and arguments.

    Use it in a ``with``: the process ends with it.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any):
        context = get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, make, arguments))
        self._process.start()

    def __call__(self, method: str, *arguments: Any) -> Any:
        self._pipe.send((method, arguments))
        return self._pipe.recv()

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join()


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    served = make(*arguments)
    while (asked := pipe.recv()) is not None:
        pipe.send(getattr(served, asked[0])(*asked[1]))
