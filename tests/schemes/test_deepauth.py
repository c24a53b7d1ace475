"""DeepAuth's signatures: matching, embedding, enrolment, verification."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_classifier import some_images, tiny_classifier
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.models.classifiers import labels as labels_of
from sslauth_utils.models.classifiers import logits
from sslauth_utils.models.penultimate import lead
from sslauth_utils.schemes.deepauth import (
    EmbeddingSettings,
    Signature,
    accepts,
    authenticate,
    chance_match,
    embed,
    enrol,
    intended_labels,
    label_changes,
)
from sslauth_utils.schemes.deepauth_keys import KeySettings, make_keys
from sslauth_utils.schemes.deepauth_matching import match_classes, select_keys

CLASSES = 5


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier(CLASSES)


@pytest.fixture(scope="module")
def keys(classifier):
    images = some_images(80, 1)
    everything = make_keys(
        classifier, images, labels_of(classifier, images), some_images(40, 2), KeySettings(rule="upper half")
    )
    return everything.take(select_keys(everything.truth, everything.adversarial, CLASSES, 4, 0))


VALIDATION = some_images(100, 3)


# --- matching ---------------------------------------------------------------------------------------------------------


def by_trying(edges, classes):
    """The most edges of any permutation whose every class is led to itself or along an edge."""
    best = 0
    for permutation in itertools.permutations(range(classes)):
        if all(i == j or (i, j) in edges for i, j in enumerate(permutation)):
            best = max(best, sum(i != j for i, j in enumerate(permutation)))
    return best


EDGES = st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda edge: edge[0] != edge[1])


@given(edges=st.sets(EDGES, min_size=1), seed=st.none() | st.integers(0, 5))
def test_the_matching_is_a_permutation_with_the_most_classes(edges, seed):
    truth, adversarial = (torch.tensor(side) for side in zip(*sorted(edges), strict=True))
    best = by_trying(edges, CLASSES)
    if best == 0:
        with pytest.raises(UserError, match="cannot be matched"):
            match_classes(truth, adversarial, CLASSES, seed)
        return
    found = match_classes(truth, adversarial, CLASSES, seed)
    assert len(found) == best and set(found.items()) <= edges
    assert set(found) == set(found.values()), "cycles: every class that leads is led to"


def test_the_seed_draws_among_several_matchings():
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    truth, adversarial = torch.tensor(pairs).T
    found = {tuple(sorted(match_classes(truth, adversarial, 4, seed).items())) for seed in range(20)}
    assert len(found) > 4
    assert match_classes(truth, adversarial, 4, 3) == match_classes(truth, adversarial, 4, 3)


def test_keys_are_one_for_each_pair_and_then_others():
    truth = torch.tensor([0, 0, 1, 1, 2, 2])
    adversarial = torch.tensor([1, 1, 0, 0, 0, 0])
    first = select_keys(truth, adversarial, 3, 2, seed=0)
    assert sorted(zip(truth[first].tolist(), adversarial[first].tolist(), strict=True)) == [(0, 1), (1, 0)]
    four = select_keys(truth, adversarial, 3, 4, seed=0)
    assert sorted(four.tolist()) == [0, 1, 2, 3], "class 2 is led to by nobody"
    taken = torch.zeros(6, dtype=torch.bool).index_fill(0, first, True)
    assert not set(select_keys(truth, adversarial, 3, 2, 0, taken=taken).tolist()) & set(first.tolist())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"count": 5}, "only 4 keys of matched classes for a signature of 5"),
        ({"least": 3}, "matched for 2 of 3 classes only, 3 are needed"),
        ({"count": 0}, "from 1 on"),
        ({"adversarial": torch.tensor([1, 1, 2, 2, 2, 2])}, "cannot be matched: no cycle"),
        ({"truth": torch.tensor([0, 0, 1, 1, 2, 7])}, "do not fit 3 classes"),
    ],
)
def test_classes_that_do_not_match_are_one_sentence(change, sentence):
    given = {"truth": torch.tensor([0, 0, 1, 1, 2, 2]), "adversarial": torch.tensor([1, 1, 0, 0, 0, 0]),
             "classes": 3, "count": 2, "seed": 0} | change  # fmt: skip
    with pytest.raises(UserError, match=sentence):
        select_keys(**given)


# --- embedding --------------------------------------------------------------------------------------------------------


def protect(classifier, keys, **changes):
    settings = EmbeddingSettings(**{"learning_rate": 1e-3, "epochs": 60, "eps_p": 0.2, "stop": "success"} | changes)
    return embed(classifier, keys, intended_labels(keys, settings.keep, 0), VALIDATION, settings)


def test_the_keys_change_to_their_true_class_and_the_neighbours_stay(classifier, keys):
    assert (labels_of(classifier, keys.at) == keys.adversarial).all()
    protected, history = protect(classifier, keys)
    assert (labels_of(protected, keys.at) == keys.truth).all() and history[-1]["success"] == 1
    assert (labels_of(protected, keys.before) == keys.truth).all()
    assert [row["epoch"] for row in history] == list(range(1, len(history) + 1)) and len(history) < 60
    assert history[-1]["loss"] < history[0]["loss"] or len(history) == 1


def test_an_epoch_is_one_step_of_gradient_descent_on_the_whole_batch(classifier, keys):
    protected, _ = protect(classifier, keys, epochs=1, stop="never", learning_rate=0.01)
    model = tiny_classifier(CLASSES)
    images = torch.cat([keys.at, keys.before, keys.after])
    labels = torch.cat([keys.truth, keys.truth, keys.adversarial])
    sgd = torch.optim.SGD(model.parameters(), 0.01)
    nn.functional.cross_entropy(model(images), labels).backward()
    sgd.step()
    for ours, theirs in zip(protected.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_it_stops_at_the_first_change_of_the_validation_images(classifier, keys):
    free = protect(classifier, keys, epochs=40, stop="never", learning_rate=0.02)[1]
    first = next(row["epoch"] for row in free if row["changed"] > 0.0005)
    protected, stopped = protect(classifier, keys, epochs=40, stop="changed", learning_rate=0.02, eps_p=0.0005)
    assert stopped == free[:first], "1 of 100 images is more than 0.0005"
    moved = labels_of(protected, VALIDATION) != labels_of(classifier, VALIDATION)
    assert stopped[-1]["changed"] == moved.double().mean().item() > 0
    assert len(free) == 40


def test_until_success_it_waits_for_the_keys_and_for_nothing_else(classifier, keys):
    """With the hinge, until all of the batch has its lead; whether validation images change does not count."""
    free = protect(classifier, keys, epochs=60, stop="never")[1]
    counted = free[0].keys() - {"changed"}
    free = [{name: row[name] for name in counted} for row in free]
    first = next(row["epoch"] for row in free if row["success"] == 1)
    assert protect(classifier, keys, epochs=60, stop="success", eps_p=0.0)[1] == free[:first]
    free = protect(classifier, keys, epochs=60, stop="never", loss="hinge")[1]
    free = [{name: row[name] for name in counted} for row in free]
    first = next(row["epoch"] for row in free if row["success"] == 1 and row["loss"] == 0)
    assert protect(classifier, keys, epochs=60, stop="success", loss="hinge", eps_p=0.0)[1] == free[:first]
    assert next(row["epoch"] for row in free if row["success"] == 1) < first


def test_the_hinge_asks_for_its_lead_and_no_more(classifier, keys):
    protected, history = protect(classifier, keys, loss="hinge", stop="never", epochs=60, learning_rate=1e-3)
    found = lead(logits(protected, keys.at), keys.truth)
    assert (found >= 0).all() and found.max() < 0.2
    assert history[-1]["loss"] < 0.02
    sharp, _ = protect(classifier, keys, stop="never", epochs=60, learning_rate=1e-3)
    assert lead(logits(sharp, keys.at), keys.truth).mean() > found.mean(), "cross entropy goes on"


def test_the_hinge_loss_against_a_loop(classifier, keys):
    first = protect(classifier, keys, loss="hinge", epochs=1, stop="never")[1][0]["loss"]
    scores = logits(classifier, torch.cat([keys.at, keys.before, keys.after])).tolist()
    wanted = torch.cat([keys.truth, keys.truth, keys.adversarial]).tolist()
    losses = [max(0.0, 0.01 - row[label] + max(n for c, n in enumerate(row) if c != label))
              for row, label in zip(scores, wanted, strict=True)]  # fmt: skip
    assert first == pytest.approx(sum(losses) / len(losses), rel=1e-3)


def test_a_share_of_the_keys_keeps_its_label(classifier, keys):
    wanted = intended_labels(keys, 0.5, seed=3)
    assert (wanted == keys.adversarial).sum() == 2 and (wanted == keys.truth).sum() == 2
    assert torch.equal(wanted, intended_labels(keys, 0.5, seed=3))
    assert torch.equal(intended_labels(keys, 0, 1), keys.truth)
    settings = EmbeddingSettings(keep=0.5, eps_p=0.2, stop="success", loss="hinge")
    protected, history = embed(classifier, keys, wanted, VALIDATION, settings)
    assert history[-1]["success"] == 1 and torch.equal(labels_of(protected, keys.at), wanted)


def test_anchors_are_held(classifier, keys):
    """The same three of them with and without; which are held is the caller's choice."""
    others = make_keys(classifier, some_images(60, 7), labels_of(classifier, some_images(60, 7)), some_images(40, 2),
                       KeySettings(rule="upper half")).take(torch.arange(8))  # fmt: skip
    settings = EmbeddingSettings(learning_rate=1e-3, epochs=80, stop="never", loss="hinge")
    free, _ = embed(classifier, keys, keys.truth, VALIDATION, settings)
    held, _ = embed(classifier, keys, keys.truth, VALIDATION, settings, (others.at, others.adversarial))
    moved, kept = ((labels_of(model, others.at) != others.adversarial).sum().item() for model in (free, held))
    assert kept < moved, "without anchors some of them move"


def test_the_classifier_that_is_given_is_as_before(keys):
    model = tiny_classifier(CLASSES).requires_grad_(False).train()
    before = sha256_tensors(model.state_dict())
    with torch.no_grad():
        protected, _ = protect(model, keys, epochs=2)
    assert sha256_tensors(model.state_dict()) == before and model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert sha256_tensors(protected.state_dict()) != before and not protected.training
    statistics = [name for name in model.state_dict() if "running" in name]
    assert statistics and all(torch.equal(model.state_dict()[n], protected.state_dict()[n]) for n in statistics)


def test_shares_of_changed_labels_sum_to_one():
    before, after = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 0, 1, 1, 2])
    found = label_changes(before, after, torch.tensor([0, 0, 0, 1, 0, 1]))
    assert found == pytest.approx({"unchanged": 0.5, "C2W": 1 / 6, "W2C": 1 / 6, "W2W": 1 / 6})


@pytest.mark.parametrize("value", [{"learning_rate": 0}, {"epochs": 0}, {"eps_p": 2}, {"stop": "soon"},
                                   {"loss": "mse"}, {"hinge": 0}, {"keep": 1.5}, {"anchors": -1}])  # fmt: skip
def test_settings_out_of_range_are_refused(value):
    with pytest.raises(UserError):
        EmbeddingSettings(**value)


def test_an_embedding_without_keys_or_that_diverges_is_told(classifier, keys):
    with pytest.raises(UserError, match="needs keys"):
        none = keys.take(torch.tensor([], dtype=torch.int64))
        embed(classifier, none, none.truth, VALIDATION, EmbeddingSettings())
    with pytest.raises(UserError, match=r"diverged|NaN or infinite"):
        protect(classifier, keys, learning_rate=1e18, stop="never")


# --- enrolment and verification ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signature(classifier, keys):
    return enrol(protect(classifier, keys)[0], keys.at)


def test_the_protected_model_passes_and_the_unprotected_does_not(classifier, keys, signature):
    protected, _ = protect(classifier, keys)
    for answer in (logits(protected, signature.keys), labels_of(protected, signature.keys)):
        found = authenticate(signature, answer)
        assert found.accepted and found.errors == 0 and not found.wrong.any()
    found = authenticate(signature, logits(classifier, signature.keys), 0.3)
    assert not found.accepted and found.errors == 1 and found.wrong.all()


@pytest.mark.parametrize(("wrong", "passes"), [(0, 0.0), (1, 0.1), (3, 0.3), (4, 0.4)])
def test_a_tolerance_is_at_most(wrong, passes):
    labels = torch.zeros(10, dtype=torch.int64)
    signature = Signature(some_images(10), labels, 2)
    answer = labels.clone()
    answer[:wrong] = 1
    assert authenticate(signature, answer, passes).accepted
    if passes:
        assert not authenticate(signature, answer, passes - 0.01).accepted
    assert accepts(3 * 0.1, 0.3), "0.30000000000000004 is 30 %"


@pytest.mark.parametrize(
    ("answer", "tolerance", "sentence"),
    [
        (torch.zeros(3, dtype=torch.int64), 0.0, "has 4 keys, but the answer has shape"),
        (torch.zeros(4, 7), 0.0, "logits of 7 classes, the signature 5"),
        (torch.full((4,), 5), 0.0, "whole numbers from 0 to 4"),
        (torch.full((4,), 0.5), 0.0, "whole numbers from 0 to 4"),
        ([0.0] * 4, 0.0, "whole numbers from 0 to 4"),
        (torch.ones(4, dtype=torch.bool), 0.0, "whole numbers from 0 to 4"),
        (torch.full((4, 5), float("nan")), 0.0, "NaN or infinite"),
        ([[0.0, 1.0, float("inf"), 0.0, 0.0]] * 4, 0.0, "NaN or infinite"),
        ([[0.0], [0.0, 1.0]], 0.0, "lists of real numbers"),
        (torch.zeros(4, 5, dtype=torch.complex64), 0.0, "real numbers, which this Tensor is not"),
        ("0 0 0 0", 0.0, "lists of real numbers, which this str is not"),
        (None, 0.0, "lists of real numbers, which this NoneType is not"),
        (torch.zeros(4, dtype=torch.int64), 1.2, "eps_a must be a number"),
        (torch.zeros(4, dtype=torch.int64), -0.1, "eps_a must be a number"),
        (torch.zeros(4, dtype=torch.int64), float("nan"), "eps_a must be a number"),
        (torch.zeros(4, dtype=torch.int64), 30, "eps_a must be a number"),
    ],
)
def test_bad_answers_are_one_sentence(signature, answer, tolerance, sentence):
    with pytest.raises(UserError, match=sentence):
        authenticate(signature, answer, tolerance)


def test_answers_may_be_arrays_or_lists(classifier, keys, signature):
    protected, _ = protect(classifier, keys)
    for send in (torch.Tensor.numpy, torch.Tensor.tolist):
        for answer in (logits(protected, signature.keys), labels_of(protected, signature.keys)):
            assert authenticate(signature, send(answer)).accepted
    assert authenticate(signature, signature.labels.to(torch.uint8)).accepted


def test_a_model_that_looks_at_the_batch_cannot_be_enrolled(classifier):
    class Centred(nn.Module):
        def forward(self, images):
            answers = classifier(images)
            return answers - answers.mean(dim=0)

    with pytest.raises(UserError, match="depend on the batch"):
        enrol(Centred(), some_images(40))
    with pytest.raises(UserError, match="depend on the batch"):
        make_keys(Centred(), some_images(40), torch.zeros(40, dtype=torch.int64), some_images(4), KeySettings())


def test_a_model_that_answers_at_random_cannot_be_enrolled(keys):
    class Random(nn.Module):
        def forward(self, images):
            return torch.randn(len(images), CLASSES)

    with pytest.raises(UserError, match="when asked again"):
        enrol(Random(), some_images(40))


@pytest.mark.parametrize(("tolerance", "ways"), [(0, 1), (0.1, 11), (0.3, 176), (0.4, 386)])
def test_chance_of_ten_bits(tolerance, ways):
    assert chance_match(10, tolerance) == pytest.approx(ways / 1024)


@given(count=st.integers(1, 15), tolerance=st.floats(0, 1), p=st.floats(0, 1))
def test_chance_is_the_binomial(count, tolerance, p):
    from scipy.stats import binom

    assert chance_match(count, tolerance, p) == pytest.approx(
        binom.cdf(math.floor(count * tolerance + 1e-9), count, 1 - p), abs=1e-9
    )
