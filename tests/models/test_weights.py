"""The hash of weights: what wraps them does not count, and where not all of them are seen there is none."""

import functools
import json
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from sklearn.decomposition import PCA
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import RESULTS
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.models.encoders import build_encoder, library_encoder, load_encoder, wrap
from sslauth_utils.models.weights import known_sha256, sha256_weights


@pytest.mark.parametrize("name", ["cifar10-s0", "cifar10-s1", "imagenet-s0", "imagenet-s1"])
def test_committed_encoders_have_the_hash_that_was_written_with_them(name):
    path = RESULTS / "reference" / "lite" / "encoders" / f"{name}.safetensors"
    assert load_encoder(path).sha256() == json.loads(path.with_suffix(".json").read_text())["weights_sha256"]


@pytest.mark.parametrize(
    "module",
    [
        lambda: build_encoder("resnet50", 2),
        lambda: library_encoder("timm:vit_tiny_patch16_224"),
        lambda: library_encoder("timm:swin_tiny_patch4_window7_224"),
        lambda: library_encoder("torchvision:mobilenet_v3_small"),
        lambda: nn.Sequential(nn.LSTM(3, 4), nn.MultiheadAttention(4, 2)),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
    ],
    ids=["resnet", "vit", "swin", "mobilenet", "recurrent", "parametrised"],
)
def test_an_ordinary_module_has_the_hash_of_its_state_dict(module):
    module = module()
    buffers = {name: buffer for name, buffer in module.named_buffers() if buffer.is_floating_point()}
    assert sha256_weights(module) == sha256_tensors({**module.state_dict(), **buffers})


@pytest.mark.parametrize(
    "around",
    [
        nn.DataParallel,
        lambda net: torch.compile(net, backend="eager"),
        lambda net: nn.DataParallel(torch.compile(net, backend="eager")),
    ],
    ids=["data-parallel", "compiled", "both"],
)
def test_what_runs_the_weights_does_not_count(tiny, around):
    assert sha256_weights(around(tiny)) == tiny.sha256()
    assert wrap(around(tiny.backbone)).sha256() == wrap(tiny.backbone).sha256()
    with torch.no_grad():
        before = tiny.sha256()
        tiny.backbone.conv1.weight[0, 0, 0, 0] += 1
    assert sha256_weights(around(tiny)) == tiny.sha256() != before


def test_a_part_that_is_called_module_counts():
    class Holder(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.add_module(name, nn.Linear(2, 2))
            nn.init.ones_(getattr(self, name).weight)
            nn.init.ones_(getattr(self, name).bias)

    assert sha256_weights(Holder("module")) == sha256_tensors(Holder("module").state_dict())
    assert sha256_weights(Holder("module")) != sha256_weights(Holder("part"))


class Holding:
    def __init__(self, layer):
        self.layer = layer


class Out(nn.Module):
    """Computes with weights that it keeps as `keep` says, beside a registered layer."""

    def __init__(self, keep):
        super().__init__()
        self.known, self.kept = nn.Linear(3, 3), keep(nn.Linear(3, 3))

    def forward(self, x):
        return self.known(x.mean((2, 3)))


WAYS_OUT = {
    "list": lambda layer: [layer],
    "nested": lambda layer: {"a": ({"b": [layer]},)},
    "parameters": lambda layer: [layer.weight],
    "leaf": lambda layer: {"w": layer.weight.detach().clone().requires_grad_()},
    "plain tensor": lambda layer: layer.weight.detach().clone(),
    "plain tensors": lambda layer: [layer.weight.detach().clone()],
    "array": lambda layer: layer.weight.detach().numpy().copy(),
    "namespace": lambda layer: SimpleNamespace(weight=layer.weight.detach().clone()),
    "object": lambda layer: Holding(layer),
    "tensor in an object": lambda layer: Holding(layer.weight.detach().clone()),
    "fitted": lambda layer: PCA(2).fit(layer.weight.detach().numpy()),
    "key": lambda layer: {layer: "of a dictionary"},
    "array of objects": lambda layer: np.array([layer, None]),
    "whole numbers": lambda layer: layer.weight.detach().to(torch.int8),
    "default": lambda layer: lambda x, layer=layer: layer(x),
    "closure": lambda layer: lambda x: layer(x),
    "method": lambda layer: layer.forward,
    "partial": lambda layer: functools.partial(layer.forward),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_parameters_outside_the_state_dict_leave_no_hash(way):
    for module in (Out(WAYS_OUT[way]), wrap(Out(WAYS_OUT[way]))):
        with pytest.raises(
            UserError, match=r"weights outside its state dict \((backbone\.)?kept\), so .*nn\.ModuleList"
        ):
            sha256_weights(module)
        assert known_sha256(module) is None


ELSEWHERE, TABLE = ModuleType("elsewhere"), torch.ones(3, 3)
ELSEWHERE.table = torch.ones(3, 3)


class Place:
    table = torch.ones(3, 3)


@functools.lru_cache
def cached():
    return TABLE


class ByMethod(Out):
    def head(self, x):
        return x @ TABLE

    def forward(self, x):
        return self.head(super().forward(x))


class ByProperty(Out):
    @property
    def table(self):
        return TABLE

    def forward(self, x):
        return super().forward(x) @ self.table


class ByModule(Out):
    def forward(self, x):
        return super().forward(x) @ ELSEWHERE.table


class ByClass(Out):
    def forward(self, x):
        return super().forward(x) @ Place.table


class ByCache(Out):
    def forward(self, x):
        return super().forward(x) @ cached()


class OfALibrary(torchvision.models.ResNet):
    def __init__(self, _keep):
        super().__init__(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3)

    def _forward_impl(self, x):
        return super()._forward_impl(x) @ TABLE


@pytest.mark.parametrize("kind", [ByMethod, ByProperty, ByModule, ByClass, ByCache, OfALibrary])
def test_weights_that_forward_reaches_elsewhere_leave_no_hash(kind):
    assert known_sha256(kind(lambda _: None)) is None


def test_what_forward_does_not_call_and_what_is_no_weight_is_no_matter():
    class Plain(ByMethod):
        def forward(self, x):
            return self.known(x.mean((2, 3)))

        def training_step(self, x):
            return self(x) @ TABLE

    module = Plain(lambda layer: [1.5, "text", torch.arange(3), nn.functional.relu, torch.tensor([True])])
    module.part = module.known.weight[1:]
    assert sha256_weights(module) == sha256_tensors(module.state_dict())


def test_a_part_of_known_memory_that_no_weight_fills_leaves_no_hash():
    flat = torch.randn(18)
    module = Out(lambda _: flat[9:])
    module.own = nn.Parameter(flat[:9])
    assert known_sha256(module) is None
    module.kept = flat[3:9]
    assert known_sha256(module) is not None


def test_small_whole_numbers_kept_out_of_the_state_count():
    module = Out(lambda _: None)
    module.register_buffer("table", torch.ones(3, dtype=torch.int8), persistent=False)
    before = sha256_weights(module)
    module.table[0] = 2
    assert sha256_weights(module) != before


def test_two_weights_of_one_name_without_wrappers_leave_no_hash():
    class Scaled(nn.DataParallel):
        def __init__(self, module):
            super().__init__(module)
            self.scale = nn.Parameter(torch.ones(3))

    inner = Out(lambda _: None)
    inner.scale = nn.Parameter(torch.ones(3))
    with pytest.raises(UserError, match="have one name"):
        sha256_weights(Scaled(inner))


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.known, self.bias, self.several = nn.Linear(3, 3), torch.ones(3), [torch.ones(3)]

    def forward(self, x):
        return self.known(x)


class ByName(Scripted):
    def forward(self, x):
        return self.known(x) * self.bias  # "bias" is known, and not this one


class ByList(Scripted):
    def forward(self, x):
        return self.known(x) * self.several[0]


class ByOtherMethod(Scripted):
    @torch.jit.export
    def other(self, x):
        return self.known(x) * self.bias


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", [ByName, ByList, ByOtherMethod])
def test_tensors_in_attributes_of_script_leave_no_hash(kind):
    assert known_sha256(torch.jit.script(kind())) is None
    assert known_sha256(torch.jit.script(torchvision.models.resnet18(num_classes=3))) is not None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weights_in_hooks_globals_classes_and_script_leave_no_hash():
    layer = nn.Linear(3, 3)
    hooked = Out(lambda _: None)
    hooked.known.register_forward_hook(lambda module, given, out: layer(out))

    class InClass(Out):
        weight = torch.ones(3)

    class Elsewhere(Out):
        def forward(self, x):
            return layer(super().forward(x))

    script = torch.jit.trace(Out(lambda _: None), torch.rand(1, 3, 4, 4))
    assert known_sha256(script) is not None
    for module in (hooked, InClass(lambda _: None), Elsewhere(lambda _: None)):
        with pytest.raises(UserError, match="weights outside its state dict"):
            sha256_weights(module)
        assert known_sha256(nn.Sequential(module)) is None


def test_what_a_hook_has_caught_is_no_weight():
    caught, module = [torch.ones(3)], Out(lambda _: None)
    module.known.register_forward_hook(lambda module, given, out: caught.append(out))
    assert sha256_weights(module) == sha256_tensors(module.state_dict())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_constants_of_script_leave_no_hash():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.known, self.kept = nn.Linear(3, 3), torch.ones(3)

        def forward(self, x):
            return self.known(x) * self.kept

    assert known_sha256(torch.jit.trace(Constant(), torch.rand(2, 3))) is None


def test_floats_kept_out_of_the_state_count():
    def module(value):
        made = nn.Flatten()
        made.register_parameter("scale", nn.Parameter(torch.ones(1)))
        made.register_buffer("kept", torch.full((2,), value), persistent=False)
        return made

    assert sha256_weights(module(1.0)) == sha256_weights(module(1.0)) != sha256_weights(module(2.0))


def test_parameters_kept_twice_are_no_matter():
    module = Out(lambda layer: None)
    module.kept = [module.known, module.known.weight, lambda x: module(x), nn.ReLU(), torch.ones(2, dtype=int)]
    assert sha256_weights(module) == sha256_tensors(module.state_dict())


def test_parameters_that_the_state_dict_leaves_out_leave_no_hash():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module.register_state_dict_post_hook(lambda module, state, prefix, meta: state.__delitem__("1.weight"))
    with pytest.raises(UserError, match=r"outside its state dict \(1\.weight\)"):
        sha256_weights(module)


@pytest.mark.parametrize("module", [nn.Flatten(), wrap(nn.Flatten()), wrap(nn.Flatten(), mean=0.5)])
def test_no_weights_no_hash(module):
    with pytest.raises(UserError, match="no weights to hash: its state dict is empty but for pixel normalisation"):
        sha256_weights(module)
    assert known_sha256(module) is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_frozen_script_has_no_hash_and_other_script_has_one():
    net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten()).eval()
    script = torch.jit.script(net)
    assert sha256_weights(script) == sha256_weights(net)
    frozen = wrap(torch.jit.freeze(script))
    assert known_sha256(frozen) is None
    with pytest.raises(UserError, match=r"outside its state dict \(0\.backbone\)"):
        sha256_weights(nn.Sequential(frozen, nn.Linear(64, 2)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*quant")
@pytest.mark.parametrize("scheme", ["default_dynamic_qconfig", "per_channel_dynamic_qconfig"])
def test_quantised_weights_have_a_hash_that_sees_them(scheme):
    def quantised(change=0.0):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        with torch.no_grad():
            net[0].bias[0] += change
        how = {nn.Linear: getattr(torch.ao.quantization, scheme)}
        return torch.ao.quantization.quantize_dynamic(net, how)

    assert sha256_weights(quantised()) == sha256_weights(quantised()) != sha256_weights(quantised(0.1))


def test_extra_state_counts_where_it_is_plain():
    class Extra(nn.Linear):
        def __init__(self, state):
            super().__init__(2, 2)
            nn.init.ones_(self.weight)
            nn.init.ones_(self.bias)
            self.state = state

        def get_extra_state(self):
            return self.state

        def set_extra_state(self, state):
            self.state = state

    states = [{"version": 1}, {"version": 2}, {"version": "1"}, {"steps": 1}, ["version", 1], None, torch.ones(1)]
    assert len({sha256_weights(Extra(state)) for state in states}) == len(states)
    assert sha256_weights(Extra({"version": 1})) == sha256_weights(Extra({"version": 1}))
    with pytest.raises(UserError, match=r"state holds a object \(_extra_state\), which has no SHA-256"):
        sha256_weights(Extra(object()))


def test_weights_without_values_have_no_hash():
    with pytest.raises(UserError, match="weights cannot be hashed"):
        sha256_weights(nn.Linear(2, 2, device="meta"))
