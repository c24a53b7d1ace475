"""Probes against slow computations, and on data whose answer is known."""

import math

import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.models import probes


@pytest.fixture
def blobs():
    """Three classes of directions in 8 dimensions, overlapping a little."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 8, generator=generator)
    labels = torch.arange(150) % 3
    rows = centres[labels] + 0.9 * torch.randn(150, 8, generator=generator)
    rows *= torch.rand(150, 1, generator=generator) * 10 + 0.1  # lengths must not matter
    return rows[:90], labels[:90], rows[90:], labels[90:]


def slow_knn(train, train_labels, test, test_labels, k, temperature):
    correct = 0
    for row, label in zip(test.tolist(), test_labels.tolist(), strict=True):
        cosines = []
        for other, name in zip(train.tolist(), train_labels.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(row, other, strict=True))
            cosines.append((dot / math.hypot(*row) / math.hypot(*other), name))
        votes = {}
        for cosine, name in sorted(cosines, reverse=True)[:k]:
            votes[name] = votes.get(name, 0) + math.exp(cosine / temperature)
        correct += max(votes, key=votes.get) == label
    return correct / len(test)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.5), (7, 0.5), (7, 0.05), (60, 0.1)])
def test_knn_equals_the_slow_vote(blobs, k, temperature):
    assert probes.knn_accuracy(*blobs, k=k, temperature=temperature) == slow_knn(*blobs, k, temperature)


def test_knn_votes_are_weighted():
    """Two neighbours far off do not outvote a close one at a low temperature; at a high one they do."""
    train, labels = torch.tensor([[1.0, 0], [0.6, 0.8], [0.6, -0.8]]), torch.tensor([0, 1, 1])
    test, answer = torch.tensor([[1.0, 0]]), torch.tensor([0])
    assert probes.knn_accuracy(train, labels, test, answer, k=3, temperature=0.1) == 1
    assert probes.knn_accuracy(train, labels, test, answer, k=3, temperature=5) == 0


def test_knn_with_fewer_images_than_k_lets_all_vote(blobs):
    assert probes.knn_accuracy(*blobs, k=10_000) == probes.knn_accuracy(*blobs, k=90)


def test_probes_are_perfect_on_separable_features_and_at_chance_on_noise():
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (400,), generator=generator)
    clear = torch.eye(4)[labels] + 0.05 * torch.randn(400, 4, generator=generator)
    noise = torch.randn(400, 16, generator=generator)
    for probe in (probes.knn_accuracy, probes.linear_accuracy):
        assert probe(clear[:200], labels[:200], clear[200:], labels[200:]) == 1
        assert abs(probe(noise[:200], labels[:200], noise[200:], labels[200:]) - 0.25) < 0.15


def test_linear_probe_does_not_see_lengths(blobs):
    train, train_labels, test, test_labels = blobs
    assert probes.linear_accuracy(*blobs) == probes.linear_accuracy(train * 100, train_labels, test / 100, test_labels)


def test_probes_know_a_class_that_only_the_test_set_has(blobs):
    train, train_labels, test, test_labels = blobs
    wrong = torch.full_like(test_labels, 7)
    assert probes.knn_accuracy(train, train_labels, test, wrong) == 0
    assert probes.linear_accuracy(train, train_labels, test, wrong) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: (a[0][:, 0], *a[1:]), "training features"),
        (lambda a: (a[0], a[1][:5], *a[2:]), "Training labels must be one label an image, whole numbers of shape"),
        (lambda a: (*a[:2], a[2][:0], a[3][:0]), "test features"),
        (lambda a: (*a[:2], a[2][:, :3], a[3]), "width 8, test features 3"),
    ],
)
@pytest.mark.parametrize("probe", [probes.knn_accuracy, probes.linear_accuracy])
def test_ill_shaped_input_is_told(blobs, probe, change, message):
    with pytest.raises(UserError, match=message):
        probe(*change(blobs))


def test_other_bad_input_is_told(blobs):
    with pytest.raises(UserError, match="k=0"):
        probes.knn_accuracy(*blobs, k=0)
    with pytest.raises(UserError, match="temperature=0"):
        probes.knn_accuracy(*blobs, temperature=0)
    with pytest.raises(UserError, match="two classes"):
        probes.linear_accuracy(blobs[0], torch.zeros(90, dtype=torch.int64), *blobs[2:])
