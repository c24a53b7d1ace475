"""Sample pairs against slow numpy, on a network small enough to compute by hand."""

import copy
import hashlib
import math
import struct

import numpy as np
import pytest
import torch
from tiny_classifier import Reassigning
from torch import nn

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.classifiers import build_network, labels, logits
from sslauth_utils.schemes import pairs as sp
from sslauth_utils.schemes import sensitive
from sslauth_utils.schemes.deepauth_keys import KeySettings, make_keys
from sslauth_utils.schemes.descent import descend, differentiable, gradient

KEY = sp.user_key("alice")
PARTS = ("before", "after", "margins")


@pytest.fixture(scope="module")
def classifier():
    """Random weights, large enough that random pixels lie on both sides of a user's boundary."""
    torch.manual_seed(3)
    return build_network("small_cnn", 10, width=4, size=8).eval().requires_grad_(False)


class Plane(nn.Module):
    """Logits that are linear in the mean of each channel."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight), requires_grad=False)

    def forward(self, x):
        return x.mean(dim=(2, 3)) @ self.weight.T


SMALL = sp.PairSettings(count=12, iterations=20, steps=(1e-2, 1e-3, 1e-4), seed=1)


# --- stage 0 ----------------------------------------------------------------------------------------------------------


def test_the_users_layer_is_kaiming_uniform_numbers_from_sha256_of_key_and_counter():
    layer = sp.keyed_layer(KEY, 5)
    stream = b"".join(hashlib.sha256(KEY + struct.pack(">I", n)).digest() for n in range(5))
    uniform = [2 * number / 2**32 - 1 for number in struct.unpack(">40I", stream)]
    weight = np.array(uniform[:10]).reshape(2, 5) * math.sqrt(6 / 5)
    assert np.array_equal(layer.weight.numpy(), weight.astype(np.float32))
    assert np.allclose(layer.bias.numpy(), np.array(uniform[10:12]) / math.sqrt(5))


def test_another_key_gives_an_independent_layer():
    one, other = (sp.keyed_layer(sp.user_key(name), 1000).weight.flatten() for name in ("alice", "bob"))
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.1
    bound = (6 / 1000) ** 0.5
    assert one.abs().max() <= bound and abs(one.std() - bound / 3**0.5) < 0.05 * bound


@pytest.mark.parametrize(
    ("key", "message"),
    [(b"short", "32 bytes, not 5 bytes"), ("x" * 32, "32 bytes, not str"), (KEY + b"0", "32 bytes, not 33 bytes")],
)
def test_a_key_of_the_wrong_length_is_told(key, message):
    with pytest.raises(UserError, match=message):
        sp.keyed_layer(key, 10)


def test_a_layer_for_other_logits_means_another_model():
    with pytest.raises(UserError, match="takes 10 logits, but the classifier gives 7: the pairs are of another model"):
        sp.margin_of(sp.keyed_layer(KEY, 10), torch.zeros(3, 7))


# --- stage 1 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activity", [True, False])
def test_the_combined_loss_is_equation_6(activity):
    outputs = torch.tensor([[1.0, -3.0], [0.5, 0.25], [-2.0, -2.0]], dtype=torch.float64)
    wanted = [
        7 * np.var(row, ddof=1) - (np.abs(row).sum() if activity else 0) for row in outputs.numpy()
    ]  # fmt: skip
    assert np.allclose(sp.combined_loss(outputs, 7, activity).numpy(), wanted)


def test_stage_1_of_all_samples_at_once_is_stage_1_sample_by_sample(classifier):
    layer, start = sp.keyed_layer(KEY, 10), sp.random_images(4, 8, 0)
    settings = sp.PairSettings(iterations=20, learning_rate=1e-2)
    together = sp.approach(classifier, layer, start, settings)
    for image, found in zip(start, together, strict=True):
        x = image[None].clone().requires_grad_()
        adam = torch.optim.Adam([x], 1e-2)
        for _ in range(20):
            outputs = layer(classifier(x))[0]
            loss = 100 * outputs.var() - outputs.abs().sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            x.data.clamp_(0, 1)
        assert torch.allclose(x.detach()[0], found, atol=1e-4)


def test_stage_1_comes_nearer_to_the_boundary_and_leaves_its_start_alone(classifier):
    layer, start = sp.keyed_layer(KEY, 10), sp.random_images(20, 8, 0)
    kept = start.clone()
    near = sp.approach(classifier, layer, start, sp.PairSettings(iterations=60))
    assert torch.equal(start, kept) and near.min() >= 0 and near.max() <= 1
    before, after = (sp.margins(classifier, layer, images).abs().mean() for images in (start, near))
    assert after < 0.3 * before


def test_the_activity_term_makes_outputs_larger(classifier):
    layer, start = sp.keyed_layer(KEY, 10), sp.random_images(20, 8, 0)
    sizes = []
    for activity in (True, False):
        near = sp.approach(classifier, layer, start, sp.PairSettings(iterations=60, activity=activity))
        sizes.append(sp.outputs_of(layer, logits(classifier, near)).abs().sum(dim=1).mean())
    assert sizes[0] > sizes[1]


def test_descent_clips_to_pixels_and_counts_its_losses():
    images = torch.full((2, 3, 2, 2), 0.5)
    moved, losses = descend(images, lambda x: -x.flatten(1).sum(dim=1), 100, 0.1, "sgd")
    assert (moved == 1).all() and len(losses) == 100 and losses[0] == -6 and losses[-1] == -12
    slower, _ = descend(images, lambda x: -x.flatten(1).sum(dim=1), 4, 0.1, "sgd", halve_at=(0.5,))
    assert torch.allclose(slower, torch.tensor(0.5 + 2 * 0.1 + 2 * 0.05))


def test_the_gradient_is_each_images_own():
    images = torch.rand(3, 3, 2, 2)
    values, slope = gradient(lambda x: x.square().flatten(1).sum(dim=1), images)
    assert torch.allclose(slope, 2 * images) and values.shape == (3,) and not slope.requires_grad


def test_gradients_leave_the_classifier_as_it_was(classifier):
    classifier.train()
    before = classifier.sha256()
    with differentiable(classifier):
        gradient(lambda x: classifier(x).sum(dim=1), torch.rand(2, 3, 8, 8))
    assert classifier.training and classifier.sha256() == before
    assert all(parameter.grad is None for parameter in classifier.parameters())
    classifier.eval()


# --- stage 2 ----------------------------------------------------------------------------------------------------------


def test_stage_2_stops_at_the_first_image_beyond_the_boundary_as_by_hand():
    weight = [[2.0, 0.0, -1.0], [0.0, 1.0, 1.0]]
    plane, layer = Plane(weight), sp.keyed_layer(KEY, 2)
    direction = (layer.weight[0] - layer.weight[1]).double().numpy() @ np.array(weight)
    bias = float((layer.bias[0] - layer.bias[1]).double())
    start = torch.full((1, 3, 2, 2), 0.5)
    mean, step, steps = np.full(3, 0.5), 1e-3, 0
    side = np.sign(mean @ direction + bias)
    while np.sign(mean @ direction + bias) == side and steps < 2000:
        last, mean, steps = mean, np.clip(mean - step * side * np.sign(direction), 0, 1), steps + 1
    assert 3 < steps < 2000, "the plane lies in reach"
    [crossing] = sp.cross(plane, layer, start, [step], 2000)
    assert crossing.crossed.all()
    assert np.allclose(crossing.before[0].mean(dim=(1, 2)).numpy(), last, atol=1e-5)
    assert np.allclose(crossing.after[0].mean(dim=(1, 2)).numpy(), mean, atol=1e-5)


def test_every_finer_pair_lies_within_a_step_and_nearer_to_the_boundary(classifier):
    made = sp.make_pairs(classifier, KEY, 8, SMALL)
    assert list(made) == [1e-2, 1e-3, 1e-4]
    for step, found in made.items():
        assert (found.before - found.after).abs().max() <= step * 1.01
        assert ((found.margins[:, 0] > 0) != (found.margins[:, 1] > 0)).all()
        assert len(found) + sum(found.dropped.values()) == 12
        assert torch.equal(found.respond(classifier), found.margins)
    sizes = [found.margins.abs().sum(dim=1).mean() for found in made.values()]
    assert sizes[0] > 3 * sizes[1] > 9 * sizes[2]


def test_more_steps_than_are_allowed_are_told(classifier):
    layer = sp.keyed_layer(KEY, 10)
    with pytest.raises(UserError, match="No image crosses the boundary within 1 steps of 1e-07"):
        sp.cross(classifier, layer, sp.random_images(3, 8, 0), [1e-7], 1)


def test_saturated_images_are_told():
    """A margin of its bias alone, but for a slope that leads out of the pixels' range."""
    plane, layer = Plane([[1e-6] * 3, [0.0] * 3]), sp.keyed_layer(KEY, 2)
    upwards = bool((layer.weight[0, 0] > layer.weight[1, 0]) != (layer.bias[0] > layer.bias[1]))
    images = torch.full((2, 3, 4, 4), float(upwards))
    with pytest.raises(UserError, match="The images saturate"):
        sp.cross(plane, layer, images, [1e-3], 5)


# --- enrolment and detection ------------------------------------------------------------------------------------------


def test_what_is_no_pair_is_dropped_and_counted(classifier):
    made = sp.make_pairs(classifier, KEY, 8, SMALL)[1e-2]
    before, after = (torch.cat([part, made.before[:3]]) for part in (made.before, made.after))
    crossed = torch.ones(len(before), dtype=torch.bool)
    crossed[0] = False
    found = sp.enrol(classifier, KEY, before, after, crossed)
    assert len(found) == len(made) - 1 and found.dropped == {"not crossed": 1, "no pair at enrolment": 3}
    with pytest.raises(UserError, match="None of the 2 candidates is a pair"):
        sp.enrol(classifier, KEY, made.before[:2], made.before[:2])


def test_detection_is_a_change_of_either_label():
    margins = torch.tensor([[1.0, -1.0], [-2.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
    found = sp.Pairs(torch.zeros(3, 3, 8, 8), torch.zeros(3, 3, 8, 8), margins, KEY, 10, {})
    now = torch.tensor([[0.1, -9.0], [2.0, 2.0], [-1.0, 1.0]], dtype=torch.float64)
    assert found.changed(now).tolist() == [[False, False], [True, False], [True, True]]


def test_a_changed_last_layer_is_seen_and_the_intact_one_is_not(classifier):
    import copy

    found = sp.make_pairs(classifier, KEY, 8, SMALL)[1e-4]
    found.confirm(classifier)
    changed = copy.deepcopy(classifier)
    changed.backbone.fc.bias[0] += 1.0
    assert found.changed(found.respond(changed)).any(dim=1).all()
    with pytest.raises(UserError, match=f"Only 0 of the {len(found)} pairs are pairs of this classifier"):
        found.confirm(changed)


def test_calibrated_pairs_have_the_margin_that_was_asked_for(classifier):
    wide = sp.make_pairs(classifier, KEY, 8, SMALL)[1e-2]
    least = float(wide.margins.abs().min(dim=1).values.median()) / 3
    found = sp.calibrate(classifier, wide, least)
    assert (found.margins.abs() >= least * (1 - 1e-6)).all() and (found.margins.abs() <= 1.05 * least).all()
    assert ((found.margins[:, 0] > 0) != (found.margins[:, 1] > 0)).all()
    assert len(found) + sum(found.dropped.values()) == 12
    with pytest.raises(UserError, match="No pair has a margin of 1000"):
        sp.calibrate(classifier, wide, 1e3)


def test_pairs_come_back_from_their_file(classifier, tmp_path):
    found = sp.make_pairs(classifier, KEY, 8, SMALL)[1e-4]
    found.save(tmp_path / "pairs.safetensors")
    again = sp.Pairs.load(tmp_path / "pairs.safetensors")
    assert torch.equal(again.before, found.before) and again.key == KEY and again.dropped == found.dropped
    again.confirm(classifier)
    classifier_file = tmp_path / "other.safetensors"
    from sslauth_utils.models.classifiers import save_classifier

    save_classifier(classifier, classifier_file)
    with pytest.raises(UserError, match="holds no pairs"):
        sp.Pairs.load(classifier_file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"after": torch.zeros(2, 3, 8, 8)}, "are of shapes"),
        ({"before": torch.full((1, 3, 8, 8), 2.0), "after": torch.zeros(1, 3, 8, 8)}, "not all in"),
        ({"before": torch.zeros(1, 3, 8, 8).double(), "after": torch.zeros(1, 3, 8, 8)}, "not float32"),
        ({"margins": torch.tensor([[float("nan"), -1.0]])}, "two finite numbers"),
        ({"margins": torch.tensor([[2.0, 1.0]])}, "one label"),
        ({"margins": torch.tensor([1.0])}, "two finite numbers"),
        ({"classes": 1}, "number of classes"),
        ({"classes": "ten"}, "number of classes"),
    ],
)
def test_what_are_no_pairs_is_neither_saved_nor_loaded(tmp_path, change, message):
    images = {"before": torch.zeros(1, 3, 8, 8), "after": torch.ones(1, 3, 8, 8)}
    about = {"margins": torch.tensor([[1.0, -1.0]]).double(), "key": KEY, "classes": 5, "dropped": {}}
    sp.Pairs(**images, **about).save(tmp_path / "right.safetensors")
    assert len(sp.Pairs.load(tmp_path / "right.safetensors")) == 1
    wrong = sp.Pairs(**{**images, **about, **change})
    with pytest.raises(UserError, match=f"cannot be saved, because they could not be read back: .*{message}"):
        wrong.save(tmp_path / "wrong.safetensors")
    facts = {"format": "pairs 1", "key": KEY.hex(), "classes": wrong.classes, "dropped": {}}
    tensors.save(tmp_path / "wrong.safetensors", {name: getattr(wrong, name) for name in PARTS}, facts)
    with pytest.raises(UserError, match=f"holds no pairs that can be used: .*{message}"):
        sp.Pairs.load(tmp_path / "wrong.safetensors")


@pytest.mark.parametrize("change", [{"key": "zz"}, {"key": 3}, {"dropped": None}])
def test_a_file_that_does_not_say_what_its_pairs_are_is_told(tmp_path, change):
    parts = {"before": torch.zeros(1, 3, 8, 8), "after": torch.ones(1, 3, 8, 8), "margins": torch.tensor([[1.0, -1.0]])}
    facts = {"format": "pairs 1", "key": KEY.hex(), "classes": 5, "dropped": {}} | change
    tensors.save(tmp_path / "pairs.safetensors", parts, {name: value for name, value in facts.items() if value})
    with pytest.raises(UserError, match="does not say what its pairs are"):
        sp.Pairs.load(tmp_path / "pairs.safetensors")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count must be"),
        ({"weight": -1}, "weight"),
        ({"steps": (1e-3, 1e-3)}, "must get smaller"),
        ({"steps": ()}, "must get smaller"),
        ({"steps": (0.0,)}, "above 0"),
        ({"steps": 1e-3}, "must be a list of numbers, not 0.001"),
        ({"steps": np.array([1e-2, 1e-3])}, "must be a list of numbers"),
        ({"activity": 1}, "activity must be one of"),
    ],
)
def test_settings_out_of_range_are_told(values, message):
    with pytest.raises(UserError, match=message):
        sp.PairSettings(**values)


def test_probabilities_are_told_before_anything_is_made(classifier):
    with pytest.raises(UserError, match="probabilities where logits are needed"):
        sp.make_pairs(nn.Sequential(classifier, nn.Softmax(dim=1)), KEY, 8, SMALL)


class Changed(nn.Module):
    """A classifier with something done to its logits."""

    def __init__(self, classifier, change):
        super().__init__()
        self.classifier, self.change = classifier, change

    def forward(self, x):
        return self.change(self.classifier(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: nn.functional.dropout(x, 0.1), "when asked again"),
        (lambda x: x + 1e-3 * torch.randn_like(x), "when asked again"),
        (lambda x: x - x.mean(dim=0), "depend on the batch"),
    ],
)
def test_a_classifier_that_does_not_repeat_its_answers_gets_no_pairs(classifier, change, message):
    made = sp.make_pairs(classifier, KEY, 8, SMALL)[1e-2]
    with pytest.raises(UserError, match=message):
        sp.make_pairs(Changed(classifier, change), KEY, 8, SMALL)
    with pytest.raises(UserError, match=message):
        sp.enrol(Changed(classifier, change), KEY, made.before, made.after)


def test_answers_may_be_arrays_or_lists_but_not_nan(classifier):
    pairs = sp.make_pairs(classifier, KEY, 8, SMALL)[1e-3]
    wanted = pairs.respond(classifier)
    for send in (torch.Tensor.numpy, torch.Tensor.tolist):
        found = pairs.margins_of(lambda images, send=send: send(logits(classifier, images)))
        assert torch.equal(found, wanted) and not pairs.changed(send(found)).any()
    with pytest.raises(UserError, match="NaN or infinite"):
        pairs.margins_of(lambda images: logits(classifier, images) * math.nan)
    for bad in (wanted * math.nan, wanted[:, :1], wanted[:-1].tolist()):
        with pytest.raises(UserError, match="two finite numbers for each"):
            pairs.changed(bad)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_pairs_of_a_classifier_of_another_type_are_float32_and_its_own(classifier, dtype):
    import copy

    cast = copy.deepcopy(classifier).to(dtype)
    for pairs in sp.make_pairs(cast, KEY, 8, sp.PairSettings(count=12, iterations=5, steps=(1e-2,), seed=1)).values():
        assert pairs.before.dtype == torch.float32
        pairs.confirm(cast)


@pytest.mark.parametrize("switch", ["inference", "device", "float64", "autocast"])
def test_pairs_are_the_same_whatever_the_caller_has_switched_on(classifier, switch):
    wanted = sp.make_pairs(classifier, KEY, 8, SMALL)[1e-4]
    contexts = {
        "inference": torch.inference_mode,
        "device": lambda: torch.device("meta"),
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    }
    torch.set_default_dtype(torch.float64 if switch == "float64" else torch.float32)
    try:
        with contexts.get(switch, torch.enable_grad)():
            found = sp.make_pairs(classifier, KEY, 8, SMALL)[1e-4]
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found.before, wanted.before) and torch.equal(found.margins, wanted.margins)
    assert not found.before.is_inference()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pairs_of_torchscript_are_pairs_of_the_network(classifier):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(54, 4))
    settings = sp.PairSettings(count=6, iterations=100, learning_rate=0.05, steps=(0.1,))
    pairs = sp.make_pairs(torch.jit.script(plain), KEY, 8, settings)[0.1]
    assert not pairs.changed(pairs.respond(plain)).any()


def test_stored_images_are_pairs_in_units_of_one(classifier):
    made = sp.make_pairs(classifier, KEY, 8, sp.PairSettings(count=12, iterations=20, steps=(0.03,), seed=1))[0.03]
    stored = [(part * 255).round().to(torch.uint8) for part in (made.before, made.after)]
    found = sp.enrol(classifier, KEY, *stored)
    assert found.before.max() <= 1 and torch.equal(found.respond(classifier), found.margins)


IN_PLACE = {
    "rounds to bytes": lambda images: images.mul_(255).round_().div_(255),
    "normalises": lambda images: images.sub_(0.5).mul_(2),
    "zeros": lambda images: images.zero_(),
}


@pytest.mark.parametrize("change", IN_PLACE.values(), ids=IN_PLACE.keys())
def test_an_answer_that_works_in_place_leaves_what_is_stored(classifier, change):
    pairs = sp.make_pairs(classifier, sp.user_key("a"), 8, SMALL)[1e-3]
    singles = sensitive.Singles.enrol(classifier, pairs.before)
    before = pairs.before.clone()
    pairs.margins_of(lambda images: logits(classifier, change(images).clamp(0, 1)))
    singles.changed(lambda images: logits(classifier, change(images).clamp(0, 1)))
    pairs.confirm(classifier)
    assert torch.equal(pairs.before, before) and torch.equal(singles.images, before)


def test_singles_keep_images_of_their_own(classifier):
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    singles = sensitive.Singles.enrol(classifier, images)
    images.zero_()
    assert not singles.changed(lambda given: logits(classifier, given)).any()


def test_answers_in_per_cent_are_no_logits(classifier):
    pairs = sp.make_pairs(classifier, sp.user_key("a"), 8, SMALL)[1e-3]
    with pytest.raises(UserError, match="gives per cent where logits are needed"):
        pairs.margins_of(lambda images: 100 * logits(classifier, images).softmax(dim=1))


class _NoGradient(nn.Module):
    def __init__(self, network, how):
        super().__init__()
        self.network, self.how = network, how

    def forward(self, x):
        if self.how == "numpy":
            return self.network(torch.from_numpy(x.detach().numpy()))
        if self.how == "numpy of what has a gradient":
            return self.network(torch.from_numpy(x.numpy()))
        with torch.no_grad() if self.how == "no_grad" else torch.inference_mode():
            return self.network(x)


MAKERS = {
    "pairs": lambda c, x: sp.make_pairs(c, sp.user_key("a"), 8, SMALL),
    "stage 1": lambda c, x: sp.approach(c, sp.keyed_layer(sp.user_key("a"), 10), x, SMALL),
    "stage 2": lambda c, x: sp.cross(c, sp.keyed_layer(sp.user_key("a"), 10), x, (1e-2,), 3),
    "dbi": lambda c, x: sensitive.dbi(c, x, 2),
    "aid": lambda c, x: sensitive.aid(c, x, 2),
    "sensitive": lambda c, x: sensitive.sensitive_samples(c, x, 2),
    "keys": lambda c, x: make_keys(c, x, labels(c, x), x, KeySettings(rule="upper half")),
}


@pytest.mark.parametrize("how", ["no_grad", "inference", "numpy", "numpy of what has a gradient"])
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
def test_a_classifier_without_gradients_is_told(classifier, maker, how):
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=r"no gradient with respect to its images|fails on images"):
        maker(_NoGradient(classifier, how), images)


@pytest.mark.parametrize("maker", ["stage 1", "dbi", "aid", "sensitive", "keys"])
def test_stored_pixels_are_images_in_units_of_one(classifier, maker):
    maker = MAKERS[maker]
    stored = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = [maker(classifier, images) for images in (stored, stored.float() / 255, stored.numpy())]
    made = [one if isinstance(one, torch.Tensor) else one.at for one in made]
    assert all(torch.equal(one, made[0]) for one in made)


@pytest.mark.parametrize("maker", ["pairs", "dbi", "aid", "sensitive", "keys"])
def test_a_classifier_that_changes_itself_is_told_and_put_back(classifier, maker):
    changing, asked_here = Reassigning(classifier), maker == "keys"  # for the true labels
    with pytest.raises(UserError, match=r"changes its own calls when it runs"):
        MAKERS[maker](changing, torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert changing.calls == asked_here


def test_what_holds_tensors_is_compared_by_identity(classifier):
    pairs = sp.make_pairs(classifier, sp.user_key("a"), 8, SMALL)[1e-3]
    again = copy.deepcopy(pairs)
    assert pairs == pairs and pairs != again and len({pairs, again}) == 2


def test_images_that_a_classifier_does_not_take_are_told_as_such(classifier):
    other, layer = torch.rand(4, 3, 4, 4), sp.keyed_layer(sp.user_key("a"), 10)
    for stage in (
        lambda: sp.approach(classifier, layer, other, SMALL),
        lambda: sp.cross(classifier, layer, other, (1e-2,), 3),
    ):
        with pytest.raises(UserError, match="fails on images of shape"):
            stage()
