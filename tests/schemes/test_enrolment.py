"""Enrolment: what cannot be enrolled is told."""

import copy
import json

import numpy as np
import pytest
import torch
from tiny_classifier import Counting, Reassigning
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.encoders import build_encoder, wrap
from sslauth_utils.models.features import encode
from sslauth_utils.schemes.enrolment import enrol
from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.verification import respond, verify


class _Wrong(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: torch.full((len(x), 5), float("nan")), "NaN or infinite"),
        (lambda x: x, "one vector an image"),
        (lambda x: x.flatten(1)[:-1] if len(x) > 1 else x.flatten(1), "7 feature vectors for 8"),
    ],
    ids=["nan", "rank", "short"],
)
def test_enrolling_a_bad_encoder(make, message):
    keys = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(UserError, match=message):
        enrol(_Wrong(make), keys, ())


def test_enrolment_refuses_empty_keys_and_odd_tau(encoder):
    with pytest.raises(UserError, match="N at least 1"):
        enrol(encoder, torch.zeros(0, 3, 32, 32, dtype=torch.uint8), ())
    with pytest.raises(UserError, match=r"99.5 % is 0.995"):
        enrol(encoder, torch.zeros(2, 3, 32, 32, dtype=torch.uint8), (), tau=99.5)


@pytest.fixture
def keys(record):
    return record.challenge()


@pytest.mark.parametrize(
    "send", [lambda x: x.long(), lambda x: torch.tensor(json.loads(json.dumps(x.tolist()))), torch.Tensor.numpy],
    ids=["int64", "json", "numpy"],
)  # fmt: skip
def test_keys_of_any_whole_number_type_make_the_same_record(encoder, record, keys, send):
    again = enrol(encoder, send(keys), ())
    assert torch.equal(again.keys, record.keys) and torch.equal(again.features, record.features)
    assert verify(record, respond(encoder, send(keys))).passed


def test_float_keys_are_stored_as_the_nearest_pixels(encoder, record, keys):
    again = enrol(encoder, keys.float() / 255, ())
    assert torch.equal(again.keys, keys) and torch.equal(again.features, record.features)


@pytest.mark.parametrize("use", [enrol, lambda encoder, keys, _: respond(encoder, keys)], ids=["enrol", "respond"])
def test_keys_out_of_range_are_told_and_never_clamped(encoder, keys, use):
    with pytest.raises(
        UserError, match=r"float32 must lie in \[0, 1\], but these go from 0 to 255: divide them by 255"
    ):
        use(encoder, keys.float(), ())
    with pytest.raises(UserError, match=r"whole numbers must lie in 0 to 255, but these go from -1"):
        use(encoder, keys.long() - 1, ())


def test_repeated_keys_are_told(encoder, keys):
    with pytest.warns(UserWarning, match="Only 8 of the 10 key samples are different images") as told:
        made = enrol(encoder, torch.cat([keys, keys[:2]]), ())
    assert len(made.keys) == 10 and told[0].filename == __file__
    with pytest.raises(UserError, match="All 8 key samples are the same image"):
        enrol(encoder, keys[:1].expand(8, -1, -1, -1), ())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_float_keys_of_any_type_are_stored_as_the_nearest_pixels(encoder, keys, dtype):
    assert torch.equal(enrol(encoder, (keys.double() / 255).to(dtype), ()).keys, keys)


def test_the_record_does_not_change_with_the_keys_it_was_given(encoder, keys):
    made = enrol(encoder, keys, ())
    before = made.keys.clone()
    keys.zero_()
    assert torch.equal(made.keys, before)


# --- encoders that no record can be made of ---------------------------------------------------------------------------


class _Then(nn.Module):
    def __init__(self, net, make):
        super().__init__()
        self.net, self.make, self.calls = net, make, 0

    def forward(self, x):
        self.calls += 1
        return self.make(self, self.net(x))


REFUSED = {
    "dropout": (lambda own, f: nn.functional.dropout(f, 0.1), "is not deterministic: .* switch off its dropout"),
    "noise": (lambda own, f: f + 0.05 * torch.randn_like(f) * f.norm(dim=1, keepdim=True), "is not deterministic"),
    "counts": (lambda own, f: f.roll(own.calls, 1), "is not deterministic"),
    "batch norm": (lambda own, f: nn.functional.batch_norm(f, None, None, training=True), "depend on the batch"),
    "centred": (lambda own, f: f - f.mean(0), "depend on the batch"),
    "place": (lambda own, f: f * (1 + torch.arange(len(f))[:, None] * torch.arange(f.shape[1])), "depend on the batch"),
    "dead": (lambda own, f: 0 * f, "zero features for all key samples"),
    "constant": (lambda own, f: 0 * f + 3, "the same features, up to scale, for all 8 key samples"),
    "one direction": (lambda own, f: f[:, :1].abs() + 1, "the same features, up to scale, for all 8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_encoder_that_no_record_can_be_made_of_is_told(encoder, keys, name):
    make, sentence = REFUSED[name]
    with pytest.raises(UserError, match=sentence):
        enrol(_Then(encoder, make), keys, ())


@pytest.mark.parametrize("name", ["dropout", "dead"])
def test_one_key_is_enough_to_see_it(encoder, keys, name):
    with pytest.raises(UserError, match=REFUSED[name][1]):
        enrol(_Then(encoder, REFUSED[name][0]), keys[:1], ())
    assert len(enrol(encoder, keys[:1], ()).keys) == 1


def test_an_encoder_that_looks_at_its_batch_is_seen_with_one_key(encoder, keys):
    with pytest.raises(UserError, match="depend on the batch"):
        enrol(_Then(encoder, lambda own, f: f + f.roll(1, 1).sum(0)), keys[:1], ())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_honest_encoders_of_any_type_are_enrolled(encoder, keys, dtype):
    cast = copy.deepcopy(encoder).to(dtype)
    made = enrol(cast, keys, ())
    assert verify(made, respond(cast, keys), suspect_sha256=cast.sha256()).passed


# --- the hash, and what the caller has chosen -------------------------------------------------------------------------


class _Listed(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = [nn.Conv2d(3, 8, 8, 8), nn.Flatten()]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def test_without_weights_to_hash_there_is_no_line_for_it(encoder, record, keys):
    trusted, other = wrap(_Listed(0)), wrap(_Listed(1))
    made = enrol(trusted, keys, ())
    assert made.encoder_sha256 is None
    with pytest.raises(UserError, match="no weights to hash"):
        other.sha256()
    report = verify(made, respond(other, keys), suspect_sha256=encoder.sha256())
    assert report.weights_equal is None and not report.passed and "SHA-256" not in str(report)
    assert verify(record, respond(encoder, keys), suspect_sha256=encoder.sha256()).weights_equal is True


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, lambda: torch.device("meta")])
def test_enrolment_works_whatever_the_caller_has_chosen(encoder, record, keys, context):
    torch.set_default_dtype(torch.float64)
    try:
        with context():
            made = enrol(
                encoder, keys.clone() if context is torch.inference_mode else keys, ("ini", "min"), depth=4, steps=3
            )
            report = verify(made, respond(encoder, keys))
    finally:
        torch.set_default_dtype(torch.float32)
    assert report.passed and torch.equal(made.features, record.features)
    assert not made.keys.is_inference() and not made.features.is_inference()
    for objective, generator in made.generators.items():
        wanted = record.generators[objective].state_dict()
        assert all(torch.equal(value, wanted[name]) for name, value in generator.state_dict().items())


def test_a_size_that_the_encoder_does_not_take_is_told(keys):
    class Picky(nn.Module):
        def forward(self, x):
            assert x.shape[2] == 224, "Input height doesn't match model"
            return x.flatten(1)

    with pytest.raises(
        UserError, match=r"fails on images of shape \(8, 3, 32, 32\) \(Input height doesn't match model\)"
    ):
        enrol(Picky(), keys, ())


def test_an_untrained_encoder_is_no_constant(keys):
    for seed in range(3):
        torch.manual_seed(seed)
        assert len(enrol(build_encoder("resnet18", 1), keys, ()).features) == 8


class _Noisy(nn.Module):
    """Random by half a per cent: the cosine hardly shows it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        features = self.network(x)
        return features + 0.0005 * features.norm(dim=1, keepdim=True) * torch.randn_like(features)


def test_noise_that_only_a_generator_shows_is_told(encoder, keys):
    torch.manual_seed(0)
    assert enrol(_Noisy(encoder), keys, (), tau=0.99998)
    with pytest.raises(UserError, match="fails its own record"):
        enrol(_Noisy(encoder), keys, ("min",), tau=0.99998, size=16, depth=8, steps=40)


def test_features_that_one_vector_could_stand_for_are_told(encoder, keys):
    class NearlyConstant(nn.Module):
        def forward(self, x):
            return 1 + 1e-3 * encoder(x)

    with pytest.warns(UserWarning, match="one vector sent for all"):
        enrol(NearlyConstant(), keys, ("min",), size=16, depth=8, steps=2)


def test_a_generator_that_answers_all_alike_is_told(encoder, keys):
    """Trained with too large a step it makes one image of everything, and no tamper would show in it."""
    with pytest.warns(UserWarning, match="^Trans with G_min accepts one vector sent for all .* smaller learning rate"):
        record = enrol(encoder, keys, ("min",), size=16, depth=8, steps=30, learning_rate=1.0)
    one = record.features.mean(dim=0, keepdim=True).expand_as(record.features)
    report = verify(record, one)
    assert {result.scheme: result.passed for result in report.results} == {"DCmp": False, "Trans": True}


@pytest.mark.parametrize("history", [(), {}, "rows"])
def test_a_history_that_takes_no_rows_is_told_before_anything_is_made(keys, history):
    with pytest.raises(UserError, match="The history must be a list"):
        enrol(_Wrong(lambda x: 1 / 0), keys, ("min",), history=history)


class _MadeFromTheFirstImages(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.scale = network, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        features = self.network(x)
        if self.scale == 0:
            self.scale.data = 1 / features.std().reshape(1)
        return self.scale * features


class _ReplacedAtFirst(_MadeFromTheFirstImages):
    def forward(self, x):
        features = self.network(x)
        if self.scale == 0:
            self.scale = nn.Parameter(1 / features.detach().std().reshape(1))
        return self.scale * features


@pytest.mark.parametrize("around", [Counting, _MadeFromTheFirstImages, Reassigning, _ReplacedAtFirst])
def test_an_encoder_that_changes_itself_is_told_and_put_back(encoder, keys, around):
    changing = around(encoder)
    own = dict(changing.named_parameters()) | dict(changing.named_buffers())
    before = {name: value.clone() for name, value in changing.state_dict().items()}
    wrapped = wrap(changing)
    assert all(torch.equal(value, before[name]) for name, value in changing.state_dict().items())
    with pytest.raises(UserError, match=r"changes its own .* when it runs, even in eval mode"):
        enrol(wrapped, keys, ())
    assert all(torch.equal(value, before[name]) for name, value in changing.state_dict().items())
    now = dict(changing.named_parameters()) | dict(changing.named_buffers())
    assert all(now[name] is tensor for name, tensor in own.items()), "an optimiser holds these very tensors"


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": -1}, {"steps": 2.0}, {"size": 16.0}, {"size": 0}, {"size": 24}, {"depth": 0}, {"seed": True},
        {"seed": None}, {"learning_rate": 0}, {"learning_rate": float("nan")}, {"objectives": ("least",)},
        {"objectives": None},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_told_before_anything_runs(encoder, keys, settings):
    history = []
    with pytest.raises(UserError, match="generator"):
        enrol(
            encoder, keys, **{"objectives": ("min",), "size": 16, "depth": 4, "steps": 2, **settings}, history=history
        )
    assert not history


def test_numpys_numbers_and_one_objective_will_do(encoder, keys, tmp_path):
    kinds = {name: np.int64(value) for name, value in {"size": 16, "depth": 4, "steps": 2, "seed": 3}.items()}
    record = enrol(encoder, keys, "min", tau=np.float32(0.99), **kinds)
    record.save(tmp_path / "record")
    assert list(Record.load(tmp_path / "record").generators) == ["min"]


def test_features_in_one_buffer_are_not_mixed_up(encoder):
    class OneBuffer(nn.Module):
        def forward(self, x):
            buffer[: len(x)] = encoder(x)
            return buffer[: len(x)]

    buffer = torch.zeros(7, 32)
    images = torch.randint(0, 256, (21, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encode(OneBuffer(), images, 7), encode(encoder, images, 7))


def test_autocast_around_enrolment_changes_nothing(encoder, keys):
    settings = {"objectives": ("min",), "size": 16, "depth": 4, "steps": 3}
    with torch.autocast("cpu", torch.bfloat16):
        within = enrol(encoder, keys, **settings)
    assert within.digest() == enrol(encoder, keys, **settings).digest()
