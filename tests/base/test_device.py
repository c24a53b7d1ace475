"""Devices: the one asked for or a sentence, and strict arithmetic that leaves nothing behind."""

import threading

import pytest
import torch
from torch import nn

from sslauth_utils.base import device
from sslauth_utils.base.errors import UserError


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.fixture
def threads():
    """The tests' own number of threads, put back afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_without_a_gpu(no_gpu):
    assert device.pick_device() == device.pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError) as caught:
        device.pick_device("cuda")
    assert str(caught.value) == ("A GPU is asked for (device: cuda), but PyTorch sees none; set device to auto or cpu.")


def test_with_a_gpu(one_gpu):
    assert device.pick_device() == device.pick_device("cuda") == torch.device("cuda")
    assert device.pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:7", "", "CPU"])
def test_an_unknown_device_is_told(name):
    with pytest.raises(UserError, match=r"Unknown device .*; use auto, cpu or cuda\."):
        device.pick_device(name)


def test_pytorch_computes_with_the_threads_asked_for(monkeypatch, threads):
    monkeypatch.setenv("SSLAUTH_THREADS", "3")
    assert device.use_threads() == torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [({"amx_bf16": True}, True), ({"avx512_bf16": True}, True), ({"avx2": True, "amx_bf16": False}, False)],
)
def test_bfloat16_is_used_only_where_the_processor_has_it(monkeypatch, capabilities, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    cpu = torch.device("cpu")
    assert device.fast_bfloat16(cpu) is fast
    with device.autocast(cpu):
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert product.dtype == (torch.bfloat16 if fast else torch.float32)


def test_no_step_computes_with_the_weights_of_an_earlier_one(monkeypatch):
    """Whatever surrounds it: PyTorch keeps what an inner autocast has cast until the outermost one is left."""
    monkeypatch.setattr(device, "fast_bfloat16", lambda _device: True)
    layer, cpu = torch.nn.Linear(4, 4, bias=False), torch.device("cpu")

    def answer():
        with device.autocast(cpu):
            return layer(torch.ones(1, 4)).float()

    with device.plain_tensors():
        before = answer()
        with torch.no_grad():
            layer.weight.mul_(2)
        assert torch.equal(answer(), 2 * before) and before.requires_grad


def switches():
    cudnn = torch.backends.cudnn
    return [cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic]


@pytest.fixture(params=[[True, True, True, False], [False, False, False, True], [True, False, True, True]])
def fast_settings(request):
    """Switches as some other code may have set them; the tests' own come back afterwards."""
    before = switches()

    def put(values):
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic = values

    put(request.param)
    yield request.param
    put(before)


def test_strict_arithmetic_switches_off_what_is_fast_and_puts_it_back(fast_settings):
    with device.strict_arithmetic():
        assert switches() == [False, False, False, True]
    assert switches() == fast_settings


def test_strict_arithmetic_puts_back_after_an_error(fast_settings):
    with pytest.raises(KeyError), device.strict_arithmetic():
        raise KeyError
    assert switches() == fast_settings
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_strict_arithmetic_is_float32_even_inside_autocast():
    left, right = torch.rand(8, 8), torch.rand(8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert (left @ right).dtype == torch.bfloat16
        with device.strict_arithmetic():
            strict = left @ right
        assert (left @ right).dtype == torch.bfloat16
    assert torch.equal(strict, left @ right)


def test_strict_arithmetic_keeps_no_gradients():
    weight = torch.ones(2, requires_grad=True)
    with device.strict_arithmetic():
        assert not (2 * weight).requires_grad
    assert (2 * weight).requires_grad


OPERATIONS = [
    torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn,
    torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn,
]  # fmt: skip


def precisions():
    return [torch.backends.fp32_precision, *(operation.fp32_precision for operation in OPERATIONS)]


def _put(place, value):
    place.fp32_precision = value


#: ways of choosing float32's precision, old and new, each followed by what it leaves to be read
CHOICES = {
    "as PyTorch starts": lambda: None,
    "everywhere": lambda: _put(torch.backends, "tf32"),
    "matrices": lambda: _put(torch.backends.cuda.matmul, "tf32"),
    "convolutions": lambda: _put(torch.backends.cudnn.conv, "ieee"),
    "on the CPU": lambda: _put(torch.backends.mkldnn.matmul, "bf16"),
    "old, medium": lambda: torch.set_float32_matmul_precision("medium"),
    "old, high": lambda: torch.set_float32_matmul_precision("high"),
    "old, no TF32": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
}


@pytest.fixture(params=CHOICES)
def chosen(request):
    """A reader's choice; the tests' own precisions come back afterwards."""
    before = device._read_switches()
    device._put_switches(before)
    CHOICES[request.param]()
    yield
    device._put_switches(before)


def _asked(question):
    try:
        return question()
    except RuntimeError as error:
        return str(error)


def _all_that_can_be_read():
    questions = [torch.get_float32_matmul_precision, switches, lambda: torch.backends.cudnn.allow_tf32]
    return [precisions(), *(_asked(question) for question in questions)]


def test_any_way_of_choosing_the_precision_is_set_aside_and_put_back(chosen):
    before = _all_that_can_be_read()
    with device.strict_arithmetic():
        assert precisions() == ["none"] + ["ieee"] * 6 and switches() == [False, False, False, True]
        assert torch.get_float32_matmul_precision() == "highest"
        with device.strict_arithmetic():
            pass
        assert precisions() == ["none"] + ["ieee"] * 6, "the outer one is still strict"
    assert _all_that_can_be_read() == before


def test_what_follows_the_general_precision_still_follows_it_afterwards(chosen):
    device._put_switches(device._read_switches()._replace(everywhere="tf32", operations=("none",) * 6))
    with device.strict_arithmetic():
        pass
    assert precisions() == ["tf32"] * 7
    torch.backends.fp32_precision = "none"
    assert precisions() == ["none"] * 7


def test_the_switches_come_back_when_the_last_thread_has_left(fast_settings):
    second_inside, first_outside, seen = threading.Event(), threading.Event(), []

    def second():
        with device.strict_arithmetic():
            second_inside.set()
            first_outside.wait(10)
            seen.append(switches())

    thread = threading.Thread(target=second)
    with device.strict_arithmetic():
        thread.start()
        second_inside.wait(10)
    first_outside.set()
    thread.join()
    assert seen == [[False, False, False, True]] and switches() == fast_settings


def test_what_is_made_in_strict_arithmetic_can_be_trained_with():
    layer = nn.Linear(2, 2)
    with torch.inference_mode(), device.strict_arithmetic():
        kept = torch.ones(2)
    (layer(torch.ones(2)) * kept).sum().backward()
    assert layer.weight.grad is not None


def test_plain_tensors_are_plain_whatever_the_caller_has_chosen():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.device("meta"):
            with device.plain_tensors():
                made = torch.ones(1, requires_grad=True)
                assert (made.dtype, made.device.type, made.is_inference()) == (torch.float32, "cpu", False)
                (2 * made).backward()
            assert torch.ones(1).device.type == "meta" and torch.is_inference_mode_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
