"""The global generator seeded for a while: for one thread at a time, and put back."""

import threading

import pytest
import torch

from sslauth_utils.base.seeds import seeded
from sslauth_utils.schemes.generator import Generator


def test_draws_come_from_the_seed_and_the_callers_own_go_on():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(1):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(inside, torch.rand(3, generator=torch.Generator().manual_seed(1)))


def test_it_may_be_asked_for_again_inside_and_an_error_puts_the_state_back():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(1), seeded(2):
        torch.rand(1)
        1 / 0  # noqa: B018
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seed_gives_one_generator_in_whatever_thread(switching_often):
    before, found = torch.get_rng_state(), []

    def make():
        for _ in range(4):
            found.append(Generator(8, 8, 4, seed=3).format.module.weight.detach().clone())

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12 and all(torch.equal(weight, found[0]) for weight in found)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def switching_often():
    import sys

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
