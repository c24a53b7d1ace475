"""Records: enrolled once, whatever decides the keys, the generators or the verdict makes another."""

import pytest
import torch
from tiny_world import ENROLMENT, artifacts, drawn, enrolment, kinds, profile, use

from sslauth_utils.base.errors import UserError
from sslauth_utils.schemes.verification import respond, verify
from sslauth_utils.study.recipes import records
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.recipes.records import enrolled_record


def test_a_record_is_enrolled_once_and_comes_back_bit_for_bit(results, monkeypatch):
    made = []
    enrol = records.enrol
    monkeypatch.setattr(records, "enrol", lambda *arguments: made.append(enrol(*arguments)) or made[-1])
    record, facts = enrolled_record("tiny", "cifar10", 0)
    encoder, _ = pretrained_encoder("tiny", "cifar10", 0)
    again, same_facts = enrolled_record("tiny", "cifar10", 0)
    assert len(made) == 1 and results.asked == [("dots", "train"), ("lines", "train")]
    assert kinds(results.folder) == ["encoder-cifar10-s0", "record-ood-cifar10-s0"]
    for loaded in (record, again):
        assert torch.equal(loaded.keys, made[0].keys) and torch.equal(loaded.features, made[0].features)
        assert (loaded.tau, loaded.encoder_sha256) == (0.995, encoder.sha256())
        assert list(loaded.generators) == ["ini", "min"]
        for objective, generator in made[0].generators.items():
            for name, value in generator.state_dict().items():
                assert torch.equal(value, loaded.generators[objective].state_dict()[name])
    assert same_facts == facts
    assert verify(record, respond(encoder, record.challenge()), suspect_sha256=encoder.sha256()).passed


def test_keys_come_from_the_other_set_or_from_the_encoders_own(shared):
    ood, ood_facts = enrolled_record("tiny", "cifar10", 0)
    own, own_facts = enrolled_record("tiny", "cifar10", 0, "id")
    assert (ood_facts["data"], own_facts["data"]) == ("lines", "dots")
    for record, name in ((ood, "lines"), (own, "dots")):
        pool = drawn(name, size=16).images.flatten(1).tolist()
        chosen = record.keys.flatten(1).tolist()
        assert all(key in pool for key in chosen) and len({tuple(key) for key in chosen}) == 6
    assert list(own.generators) == ["min"]
    assert len(ood_facts["labels"]) == 6 and ood_facts["classes"] == ["a", "b", "c"]
    assert {point["objective"] for point in ood_facts["history"]} >= {"min"}


def test_other_wishes_make_another_record_of_the_same_encoder(results):
    fewer = enrolment(n_keys=4, objectives=[])
    enrolled_record("tiny", "cifar10", 0, settings=fewer)
    enrolled_record("tiny", "cifar10", 0, settings=fewer | {"tau": 0.99})
    assert kinds(results.folder) == ["encoder-cifar10-s0", "record-ood-cifar10-s0", "record-ood-cifar10-s0"]


def test_every_parameter_of_the_notebook_makes_another_record(shared, ingredients):
    def address(**changes):
        return ingredients(enrolled_record, "tiny", "cifar10", 0, settings=enrolment(**changes)).address

    assert address() == ingredients(enrolled_record, "tiny", "cifar10", 0).address
    changed = {name: address(**{name: "another" if isinstance(value, str) else [value]})
               for name, value in ENROLMENT.items()}  # fmt: skip
    assert address() not in changed.values() and len(set(changed.values())) == len(ENROLMENT)


def test_a_record_follows_its_encoder(results, monkeypatch):
    fewer = enrolment(objectives=[])
    before, _ = enrolled_record("tiny", "cifar10", 0, settings=fewer)
    use(monkeypatch, profile(pretraining={"epochs": 1}))
    after, _ = enrolled_record("tiny", "cifar10", 0, settings=fewer)
    encoder, _ = pretrained_encoder("tiny", "cifar10", 0)
    assert after.encoder_sha256 == encoder.sha256() != before.encoder_sha256


def test_how_the_encoder_is_judged_is_no_part_of_its_record(shared, ingredients, monkeypatch):
    usual = ingredients(enrolled_record, "tiny", "cifar10", 0).address
    use(monkeypatch, profile(pretraining={"test_images": 12}))
    assert ingredients(enrolled_record, "tiny", "cifar10", 0).address == usual


def test_keys_of_a_third_kind_are_told(shared):
    with pytest.raises(UserError) as caught:
        enrolled_record("tiny", "cifar10", 0, "iid")
    assert str(caught.value) == "Key samples are 'ood', 'id' or 'id:N' (N from each class), not 'iid'."


def test_more_keys_than_images_are_told_and_leave_no_record(results):
    with pytest.raises(UserError, match="500 key samples asked for, but the set has 60 images"):
        enrolled_record("tiny", "cifar10", 0, settings=enrolment(n_keys=500))
    assert [name for name in artifacts(results.folder) if name.startswith("record")] == [
        name for name in artifacts(results.folder, ".partial")
    ]
