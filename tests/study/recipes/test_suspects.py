"""The suspects of Tables 5 and 8: what they are called, what they answer, and what is left out."""

from dataclasses import replace

import pytest
import torch
from tiny_world import profile, use

from sslauth_utils.attacks.prune import prune
from sslauth_utils.schemes.verification import respond
from sslauth_utils.study.enrolled import enrolled_encoder
from sslauth_utils.study.notebook import Run
from sslauth_utils.study.suspects import disguised_encoder, responses

RUN = Run("10_generator_objective", {"profile": "tiny", "scenario": "cifar10", "seed": 0, "device": "cpu"})


@pytest.fixture
def disguised(shared, monkeypatch):
    """The disguise, whose lambda a notebook of the profile says."""
    tiny = profile()
    use(monkeypatch, replace(tiny, notebooks=tiny.notebooks | {"07_imitation": {"imitation": 10.0}}))
    return disguised_encoder(RUN)


def test_four_suspects_answer_each_with_its_own_weights(disguised, capsys):
    encoder, _, keys = enrolled_encoder(RUN)
    found = responses(encoder, keys, replace(disguised, destroyed=False))
    assert list(found) == [("intact", 0), ("pruning", 0.1), ("rounding", 2), ("disguised stl10", 10.0)]
    suspects = [encoder, prune(encoder, 0.1), encoder, disguised.encoder]
    for ((tamper, _), (response, digest)), suspect in zip(found.items(), suspects, strict=True):
        assert digest == suspect.sha256()
        assert torch.equal(response, respond(suspect, keys, decimals=2 if tamper == "rounding" else None))
    gone = responses(encoder, keys, replace(disguised, destroyed=True))
    assert list(gone) == list(found)[:3] and "not scored" in capsys.readouterr().out


def test_scores_stand_beside_those_of_the_clean_encoder(disguised):
    assert disguised.scores.index.tolist() == ["clean encoder", "disguised encoder"]
    assert disguised.scores.columns.tolist() == ["accuracy", "attack success", "n_test"]
