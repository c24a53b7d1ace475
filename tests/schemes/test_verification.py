"""The protocol: verdicts, blind spots and bad responses."""

import pytest
import torch

from sslauth_utils.attacks.prune import prune
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.schemes.verification import respond, verify


def test_intact_encoder_passes_with_every_score_exactly_one(encoder, record):
    report = verify(record, respond(encoder, record.challenge(), normalised=False), suspect_sha256=encoder.sha256())
    assert report.passed and report.weights_equal
    for result in report.results:
        assert (result.similarity == 1).all() and result.agreement == 100 and result.auth_success == 100
    assert [result.scheme for result in report.results] == ["DCmp", "Trans G_ini", "Trans"]


def test_pruned_encoder_fails_and_hash_differs(encoder, record):
    pruned = prune(encoder, 0.5)
    report = verify(record, respond(pruned, record.challenge()), suspect_sha256=pruned.sha256())
    assert not report.passed and report.weights_equal is False
    assert report["Trans"].agreement < report["DCmp"].agreement < 100


def test_scaled_encoder_is_invisible(encoder, record):
    report = verify(record, 5 * respond(encoder, record.challenge(), normalised=False))
    assert report.passed and report["DCmp"].agreement > 100 - 1e-6, "a stated blind spot"


def test_another_tau_changes_the_verdict_only(encoder, record):
    response = respond(encoder, record.challenge(), decimals=2)
    loose, strict = verify(record, response, tau=0.01), verify(record, response, tau=0.9999999)
    assert loose.passed and not strict.passed
    assert torch.equal(loose["DCmp"].similarity, strict["DCmp"].similarity)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (torch.rand(7, 32), "7 feature vectors for 8 key samples"),
        (torch.rand(8, 31), "width 31, but the record was enrolled with 32"),
        (torch.rand(8, 32).index_fill(0, torch.tensor([3]), float("nan")), "NaN or infinite features for 1 of 8"),
        (torch.rand(8, 32).index_fill(0, torch.tensor([0, 1]), float("inf")), "for 2 of 8"),
        (torch.rand(8, 32, 1), "one vector an image"),
    ],
    ids=["short", "narrow", "nan", "infinite", "rank"],
)
def test_bad_responses(record, response, message):
    with pytest.raises(UserError, match=message):
        verify(record, response)


def test_suspect_of_another_width(record):
    other = build_encoder("resnet18", 5)
    with pytest.raises(UserError, match="width 40, but the record was enrolled with 32"):
        verify(record, respond(other, record.challenge()))


def test_encoder_keeps_its_mode(encoder, record):
    encoder.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    respond(encoder, record.challenge())
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    encoder.eval()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_any_positive_scale_passes(encoder, record, scale):
    response = respond(encoder, record.challenge())
    assert verify(record, response * scale).passed
    assert verify(record, response.double() * scale**8).passed


@pytest.mark.parametrize("send", [torch.Tensor.numpy, torch.Tensor.tolist, lambda x: x.numpy().astype(">f4")])
def test_a_response_as_files_hold_it(encoder, record, send):
    response = respond(encoder, record.challenge(), decimals=2)
    assert verify(record, send(response)).rows() == verify(record, response).rows()


@pytest.mark.parametrize(
    "send",
    [
        lambda x: torch.complex(x, x), torch.Tensor.to_sparse, lambda x: x.to("meta"), lambda x: "features",
        lambda x: [[1.0], [1.0, 2.0]], lambda x: [["a"] * x.shape[1]] * len(x), lambda x: None,
    ],
    ids=["complex", "sparse", "meta", "text", "ragged", "words", "nothing"],
)  # fmt: skip
def test_a_response_that_is_no_table_of_real_numbers(encoder, record, send):
    with pytest.raises(UserError, match="The response"):
        verify(record, send(respond(encoder, record.challenge())))


def test_a_hash_counts_as_tools_write_it(encoder, record):
    response, known = respond(encoder, record.challenge()), encoder.sha256()
    for given in (known.upper(), known + "\n", f"sha256:{known}"):
        assert verify(record, response, suspect_sha256=given).weights_equal
    assert verify(record, response, suspect_sha256=known[::-1]).weights_equal is False
    for given in ("", known[:12], known.encode(), encoder.sha256):
        with pytest.raises(UserError, match="must be 64 hexadecimal digits"):
            verify(record, response, suspect_sha256=given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_keys_in_sixteen_bits_are_the_keys(encoder, record, dtype):
    keys = record.challenge()
    assert torch.equal(respond(encoder, keys.to(dtype) / 255), respond(encoder, keys))


@pytest.mark.parametrize("kind", [torch.int16, torch.int32, torch.int64, list])
def test_an_answer_of_whole_numbers_is_judged_as_one_of_floats(encoder, record, kind):
    features = respond(encoder, record.challenge())
    floats = (features / features.abs().max() * 10_000).round()
    given = floats.int().tolist() if kind is list else floats.to(kind)
    whole, real = verify(record, given), verify(record, floats)
    assert whole.passed and all(
        torch.equal(one.similarity, other.similarity) for one, other in zip(whole.results, real.results, strict=True)
    )


@pytest.mark.parametrize("kind", [torch.bool, torch.uint16])
def test_an_answer_of_any_kind_of_numbers_is_judged(encoder, record, kind):
    assert not verify(record, (respond(encoder, record.challenge()) > 0).to(kind)).passed


def test_tensors_in_a_list_with_their_gradients_will_do(encoder, record):
    answer = [row.requires_grad_() for row in respond(encoder, record.challenge())]
    assert verify(record, answer).passed
    with pytest.raises(UserError, match="is no table of numbers"):
        verify(record, [answer[0], answer[1][:2]])


def test_what_an_encoder_changes_when_it_answers_is_put_back(encoder, record):
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.runs = encoder, torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            self.runs.data += 1
            return self.encoder(x)

    counting = Counting()
    assert verify(record, respond(counting, record.challenge())).passed and counting.runs.item() == 0
