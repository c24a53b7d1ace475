"""The rivals' losses in slow numpy, and what their samples do; honest changes of a classifier."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.classifiers import build_network, logits
from sslauth_utils.schemes import descent, sensitive
from sslauth_utils.schemes import honest_classifier as honest
from sslauth_utils.schemes import pairs as sp


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(3)
    built = build_network("small_cnn", 5, width=4, size=8, mean=0.3, std=0.7)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
    return built.eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


ANSWERS = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)


def test_dbi_is_the_variance_of_the_probabilities():
    powers = np.exp(ANSWERS.numpy())
    wanted = np.var(powers / powers.sum(axis=1, keepdims=True), axis=1, ddof=1)
    assert np.allclose(sensitive.dbi_loss(ANSWERS).numpy(), wanted)


def test_aid_adds_squared_distances_to_the_largest_logit_and_the_inactive_part():
    found = sensitive.aid_loss(ANSWERS, torch.tensor([3.0, 1.0]), 0.2)
    assert np.allclose(found.numpy(), [(1**2 + 3**2) + 0.6, 0.2])


def test_the_inactive_part_is_the_mean_of_relu_of_minus_each_convolutions_output(classifier, images):
    outs = []
    layers = [module for module in classifier.modules() if isinstance(module, nn.Conv2d)]
    x = ((images - 0.3) / 0.7).double().numpy()
    first = layers[0].weight.detach().double().numpy()
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    slow = np.zeros((6, 4, 8, 8))
    for row in range(8):
        for column in range(8):
            slow[:, :, row, column] = np.einsum(
                "nchw,ochw->no", padded[:, :, row : row + 3, column : column + 3], first
            )
    hook = layers[1].register_forward_hook(lambda m, i, out: outs.append(out))
    with sensitive._inactivity(classifier) as inactive:
        classifier(images)
        found = inactive()
        classifier(images)  # a second pass counts alone
        assert torch.equal(inactive(), found)
    hook.remove()
    wanted = np.maximum(-slow, 0).mean(axis=(1, 2, 3)) + np.maximum(-outs[0].numpy(), 0).mean(axis=(1, 2, 3))
    assert np.allclose(found.numpy(), wanted, atol=1e-5)


def test_sensitivity_is_the_squared_gradient_by_finite_differences(classifier, images):
    double = build_network("small_cnn", 5, width=4, size=8, mean=0.3, std=0.7).double().eval()
    double.load_state_dict(classifier.state_dict())
    double.requires_grad_(False)
    found = sensitive.sensitivity(double, images.double(), "backbone.fc")
    features = double.backbone.features((images.double() - double.mean) / double.std).flatten(1)
    assert torch.allclose(found, 5 * (features.square().sum(dim=1) + 1)), "of a linear map, in closed form"
    weight, total = double.backbone.features[0].weight, torch.zeros(6, dtype=torch.float64)
    for index in np.ndindex(*weight.shape):
        answers = []
        for sign in (1, -1):
            weight[index] += sign * 1e-5
            answers.append(double(images.double()))
            weight[index] -= sign * 1e-5
        total += ((answers[0] - answers[1]) / 2e-5).square().sum(dim=1)
    assert torch.allclose(sensitive.sensitivity(double, images.double(), "backbone.features.0"), total, rtol=1e-4)


def test_each_rivals_samples_do_what_it_says(classifier, images):
    layer = sp.keyed_layer(sp.user_key("a"), 5)

    def dbi_of(x):
        return sensitive.dbi_loss(logits(classifier, x)).mean()

    def spread(x):
        answers = logits(classifier, x)
        return (answers.amax(dim=1) - answers.mean(dim=1)).mean()

    assert dbi_of(sensitive.dbi(classifier, images, 50, 1e-2)) < 0.3 * dbi_of(images)
    assert spread(sensitive.aid(classifier, images, 50, 1e-2, "adam")) < 0.5 * spread(images)
    start = sp.margins(classifier, layer, images).abs().mean()
    for made in (
        sensitive.pure_variance(classifier, layer, images, 50, 1e-2),
        sensitive.released_aid(classifier, layer, images, 50, 1e-2),
    ):
        assert sp.margins(classifier, layer, made).abs().mean() < 0.2 * start
    made = sensitive.sensitive_samples(classifier, images, 20, 0.05)
    grown = sensitive.sensitivity(classifier, made, "backbone.fc") > sensitive.sensitivity(
        classifier, images, "backbone.fc"
    )
    assert grown.all() and (made - images).flatten(1).norm(dim=1).max() <= 0.2501


def test_the_released_aids_second_term_has_no_gradient(classifier, images):
    """So it makes the very images of the variance alone, on the same unfolded network."""
    layer = sp.keyed_layer(sp.user_key("a"), 5)

    def variance(answers):
        return sp.outputs_of(layer, answers).var(dim=1)

    alone = sensitive._descend(classifier, images, variance, 10, 1e-2, "adam", hooked=True)
    assert torch.equal(sensitive.released_aid(classifier, layer, images, 10, 1e-2), alone)
    assert not torch.equal(sensitive.aid(classifier, images, 10, 1e-2, "adam"), alone)


def test_the_variance_alone_makes_the_same_images_on_the_folded_copy(classifier, images):
    """In float64, where folding moves no step of Adam."""
    layer, exact, images = sp.keyed_layer(sp.user_key("a"), 5), copy.deepcopy(classifier).double(), images.double()
    alone = sensitive.pure_variance(exact, layer, images, 10, 1e-2, weight=1.0)
    torch.testing.assert_close(sensitive.released_aid(exact, layer, images, 10, 1e-2), alone, rtol=0, atol=1e-6)
    assert (sensitive.aid(exact, images, 10, 1e-2, "adam") - alone).abs().max() > 1e-2


def test_no_hooks_are_left_behind(classifier, images):
    sensitive.aid(classifier, images, 1, 1e-2)
    assert not classifier._forward_pre_hooks
    assert not any(module._forward_hooks for module in classifier.modules())


def test_random_pairs_are_counted_over_all_pairings():
    changed = torch.tensor([True, False, False, True, False])
    pairs = [(a, b) for a in range(5) for b in range(a)]
    wanted = np.mean([bool(changed[a] or changed[b]) for a, b in pairs])
    assert sensitive.random_pair_rate(changed) == pytest.approx(wanted)
    assert sensitive.independent_pair_rate(0.5) == 0.75
    with pytest.raises(UserError, match="at least two"):
        sensitive.random_pair_rate(changed[:1])
    for other in (changed.long(), changed.float(), changed[:, None], torch.stack([changed, changed], dim=1)):
        with pytest.raises(UserError, match=r"must be bool, shape \(N,\), not"):
            sensitive.random_pair_rate(other)
    for rate in (50, -0.1, float("nan")):
        with pytest.raises(UserError, match="The rate of changes must be"):
            sensitive.independent_pair_rate(rate)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c, x: sensitive.aid(nn.Flatten(), x, 1), "none"),
        (lambda c, x: sensitive.sensitive_samples(c, x, 1, layer="head"), "no layer 'head'"),
        (lambda c, x: sensitive.sensitive_samples(c, x, 1, radius=0.0), "The radius must be"),
        (lambda c, x: sensitive.sensitive_samples(c, x, 1, float("nan")), "The learning rate on images must be"),
        (lambda c, x: sensitive.sensitive_samples(c, x, 1, -0.01), "The learning rate on images must be"),
        (lambda c, x: sensitive.sensitive_samples(c, x, -3), "The number of iterations must be"),
        (lambda c, x: sensitive.dbi(c, x, 1, optimiser="lion"), "optimiser on images must be one of"),
        (lambda c, x: sensitive.dbi(nn.Sequential(c, nn.Softmax(1)), x, 1), "probabilities where logits"),
    ],
)
def test_what_a_rival_cannot_use_is_told(classifier, images, make, message):
    with pytest.raises(UserError, match=message):
        make(classifier, images)


class _Branches(nn.Module):
    """Looks at a pixel before it answers."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images) if images.mean().item() >= 0 else self.network(-images)


@pytest.mark.parametrize("wrap", [nn.DataParallel, _Branches])
def test_a_classifier_without_slopes_image_by_image_is_told(classifier, images, wrap):
    with pytest.raises(UserError, match=r"weights of '.*fc' image by image .*hand over the network itself"):
        sensitive.sensitive_samples(wrap(classifier), images, 1)


# --- honest changes ---------------------------------------------------------------------------------------------------


def test_honest_changes_change_little_and_leave_the_classifier_alone(classifier, images):
    before, own, threads = classifier.sha256(), logits(classifier, images), torch.get_num_threads()
    found = {(change.name, change.strength): change.answer(images) for change in honest.honest_changes(classifier)}
    assert classifier.sha256() == before and torch.get_num_threads() == threads
    names = {name for name, _ in found}
    assert names == {
        "repeated run", "batch size", "threads", "channels_last", "oneDNN off", "computed in", "batch norm folded",
        "weights stored as", "images sent as", "normalisation, too, stored as",
    }  # fmt: skip
    assert torch.equal(found["repeated run", ""], own) and torch.equal(found["images sent as", "float32"], own)
    for key, answers in found.items():
        assert answers.shape == own.shape and (answers - own).abs().max() < 0.1, key
    assert not torch.equal(found["computed in", "float64"], own)
    assert not torch.equal(found["images sent as", "8-bit PNG"], own)


def test_weights_stored_in_16_bits_keep_the_pixels_constants(classifier):
    stored, everything = (honest.stored_as(classifier, torch.float16, constants) for constants in (False, True))
    assert torch.equal(stored.mean, classifier.mean) and not torch.equal(everything.mean, classifier.mean)
    weight = classifier.backbone.fc.weight
    assert torch.equal(stored.backbone.fc.weight, weight.half().float()) and weight.dtype == torch.float32


def test_the_noise_is_the_largest_standard_deviation_over_honest_changes():
    enrolled = torch.tensor([0.0, 1.0])
    found = {("a", ""): enrolled + torch.tensor([3.0, 4.0]), ("b", ""): enrolled}
    assert honest.noise(found, enrolled) == pytest.approx((25 / 2) ** 0.5)


@pytest.mark.parametrize("arch", ["resnet20", "vgg16", "small_cnn"])
def test_the_copy_for_many_gradients_is_the_same_function_and_leaves_the_classifier(arch, images):
    torch.manual_seed(0)
    built = build_network(arch, 5, width=16, size=8).double()
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
    built.eval()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    quick, pixels = descent.quick_copy(built), images.double()
    torch.testing.assert_close(quick(pixels), built(pixels), rtol=1e-9, atol=1e-9)
    (_, slope), (_, found) = (
        descent.gradient(lambda x, of=of: of(x).var(dim=1), pixels) for of in (built, quick)
    )  # fmt: skip
    torch.testing.assert_close(found, slope, rtol=1e-7, atol=1e-9)
    assert all(parameter.requires_grad and parameter.is_contiguous() for parameter in built.parameters())
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())


MAKERS = {
    "dbi": lambda c, x: sensitive.dbi(c, x, 2),
    "aid": lambda c, x: sensitive.aid(c, x, 2),
    "variance": lambda c, x: sensitive.pure_variance(c, sp.keyed_layer(sp.user_key("a"), 5), x, 2),
    "sensitive": lambda c, x: sensitive.sensitive_samples(c, x, 2),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_a_maker_gives_the_same_whatever_the_caller_has_switched_on(classifier, images, maker):
    wanted = MAKERS[maker](classifier, images)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = MAKERS[maker](classifier, images + 0)
    assert torch.equal(found, wanted)
    with torch.device("meta"):
        assert torch.equal(MAKERS[maker](classifier, images), wanted)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(MAKERS[maker](classifier, images), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def test_two_threads_may_make_samples_with_one_classifier(classifier, images):
    parts, made = (images[:2], images[2:]), {}
    wanted = [sensitive.aid(classifier, part, 8) for part in parts]

    def make(number):
        made[number] = sensitive.aid(classifier, parts[number], 8)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(made[number], wanted[number]) for number in range(2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("maker", MAKERS)
def test_a_classifier_of_another_type_gets_float32_samples(classifier, images, maker, dtype):
    cast = copy.deepcopy(classifier).to(dtype)
    found = MAKERS[maker](cast, images)
    assert found.dtype == torch.float32 and found.min() >= 0 and found.max() <= 1


class Noisy(nn.Module):
    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, x):
        answers = self.classifier(x)
        return answers + 1e-2 * torch.randn_like(answers)


@pytest.mark.parametrize("maker", [*MAKERS, "enrol"])
def test_a_random_classifier_gets_no_samples(classifier, images, maker):
    ask = {**MAKERS, "enrol": sensitive.Singles.enrol}[maker]
    with pytest.raises(UserError, match="when asked again"):
        ask(Noisy(classifier), images)


def test_labels_of_singles_may_come_as_arrays_or_lists_but_not_as_nan(classifier, images):
    singles = sensitive.Singles.enrol(classifier, images)
    for send in (torch.Tensor.numpy, torch.Tensor.tolist):
        assert not singles.changed(lambda x, send=send: send(logits(classifier, x))).any()
    for bad in (lambda x: logits(classifier, x) * float("nan"), lambda x: logits(classifier, x[:2]), lambda x: ["a"]):
        with pytest.raises(UserError):
            singles.changed(bad)
