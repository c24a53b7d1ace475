"""Key samples: random, by class as the paper's K1 to K3, seeded, without repeats."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslauth_utils.base.errors import UserError
from sslauth_utils.schemes.keys import choose_keys


@pytest.fixture
def hundred_classes():
    """1,000 classes of 120 images each, in no order, as ImageNet cut down."""
    labels = torch.arange(1000).repeat_interleave(120)
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]


@pytest.mark.parametrize(
    ("per_class", "classes"),
    [(5, 20), (100, 1), (1, 100)],
    ids=["K1", "K2", "K3"],
)
def test_by_class_as_the_paper_says(hundred_classes, per_class, classes):
    chosen = choose_keys(hundred_classes, 100, per_class)
    _, counts = hundred_classes[chosen].unique(return_counts=True)
    assert counts.tolist() == [per_class] * classes
    assert len(chosen.unique()) == 100


def test_classes_and_images_are_drawn_not_taken_from_the_front(hundred_classes):
    chosen = choose_keys(hundred_classes, 100, 5)
    assert hundred_classes[chosen].unique().tolist() != list(range(20))
    first = torch.stack([(hundred_classes == label).nonzero()[:5, 0] for label in hundred_classes[chosen].unique()])
    assert not torch.isin(chosen, first).all()
    assert hundred_classes[chosen].tolist() != sorted(hundred_classes[chosen].tolist()), "keys come in random order"


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    per_class=st.none() | st.integers(1, 4),
    classes=st.integers(1, 6),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_keys_are_distinct_images_and_as_asked_or_the_lack_is_told(labels, per_class, classes, seed):
    labels = torch.tensor(labels)
    count = classes * (per_class or 3)
    sizes = labels.bincount()
    possible = count <= len(labels) if per_class is None else classes <= int((sizes >= per_class).sum())
    if not possible:
        with pytest.raises(UserError):
            choose_keys(labels, count, per_class, seed)
        return
    chosen = choose_keys(labels, count, per_class, seed)
    assert chosen.dtype == torch.int64 and chosen.shape == (count,)
    assert len(chosen.unique()) == count and chosen.min() >= 0 and chosen.max() < len(labels)
    if per_class:
        assert labels[chosen].unique(return_counts=True)[1].tolist() == [per_class] * classes


@pytest.mark.parametrize("per_class", [None, 5])
def test_same_seed_same_keys_whatever_was_drawn_before(hundred_classes, per_class):
    chosen = choose_keys(hundred_classes, 100, per_class, seed=3)
    torch.manual_seed(9)
    state = torch.get_rng_state()
    assert torch.equal(choose_keys(hundred_classes, 100, per_class, seed=3), chosen)
    assert torch.equal(torch.get_rng_state(), state), "global randomness was used"
    assert not torch.equal(choose_keys(hundred_classes, 100, per_class, seed=4), chosen)


def test_random_keys_are_uniform_over_the_set():
    labels = torch.zeros(10, dtype=torch.int64)
    drawn = torch.cat([choose_keys(labels, 3, seed=seed) for seed in range(2000)])
    # each image is chosen in 30 % of 2,000 draws: standard deviation 20.5, so this is a bound of 5 of them
    assert (drawn.bincount(minlength=10) - 600).abs().max() < 103


@pytest.mark.parametrize(
    ("count", "per_class", "sentence"),
    [
        (0, None, "The number of key samples must be a whole number from 1 on, not 0."),
        (-5, 1, "The number of key samples must be a whole number from 1 on, not -5."),
        (13, None, "13 key samples asked for, but the set has 12 images; ask for fewer."),
        (10, 4, "10 keys cannot be made of 4 from each class; choose a divisor of 10."),
        (10, 0, "The number of key samples from each class must be a whole number from 1 on, not 0."),
        (2.5, None, "The number of key samples must be a whole number from 1 on, not 2.5."),
        (True, None, "The number of key samples must be a whole number from 1 on, not True."),
        ("4", 2, "The number of key samples must be a whole number from 1 on, not '4'."),
        (4, 2.0, "The number of key samples from each class must be a whole number from 1 on, not 2.0."),
        (8, 4, "8 keys with 4 from each class need 2 classes of at least 4 images; the set has 1."),
        (5, 1, "5 keys with 1 from each class need 5 classes of at least 1 images; the set has 4."),
    ],
)
def test_a_wish_that_cannot_be_met_is_told(count, per_class, sentence):
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 4])  # class 3 has no image
    with pytest.raises(UserError) as caught:
        choose_keys(labels, count, per_class)
    assert str(caught.value) == sentence


def test_numpys_numbers_and_any_labels_will_do():
    labels = torch.tensor([3, 3, 10**13, 10**13])
    chosen = choose_keys(labels, np.int64(4), np.int32(2))
    assert sorted(chosen.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("labels", [None, 3, torch.tensor(3)])
def test_no_labels_are_told(labels):
    with pytest.raises(UserError, match="Labels must be one label an image"):
        choose_keys(labels, 1)


def test_all_images_may_be_keys():
    assert sorted(choose_keys(torch.zeros(7, dtype=torch.int64), 7).tolist()) == list(range(7))
