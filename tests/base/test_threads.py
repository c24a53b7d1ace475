import os

import pytest

from sslauth_utils.base import threads
from sslauth_utils.base.errors import UserError


def bind(monkeypatch, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 1), (3, 1), (16, 8)])
@pytest.mark.parametrize("variable", [None, ""])
def test_threads_are_half_of_the_cores_that_this_process_may_use(monkeypatch, variable, cores, expected):
    bind(monkeypatch, cores)
    monkeypatch.delenv("SSLAUTH_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("SSLAUTH_THREADS", variable)
    assert (threads.cores(), threads.threads()) == (cores, expected)


@pytest.mark.parametrize(("all_of_them", "cores"), [(6, 6), (None, 1)])
def test_where_the_system_does_not_tell_it_is_all_cores(monkeypatch, all_of_them, cores):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: all_of_them)
    assert threads.cores() == cores


def test_threads_are_those_asked_for(monkeypatch):
    monkeypatch.setenv("SSLAUTH_THREADS", "5")
    assert threads.threads() == 5


@pytest.mark.parametrize("given", ["none", "0", "-1", "2.5", " "])
def test_another_number_of_threads_is_told(monkeypatch, given):
    monkeypatch.setenv("SSLAUTH_THREADS", given)
    with pytest.raises(UserError, match="set it to a whole number from 1 on"):
        threads.threads()
