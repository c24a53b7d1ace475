"""The adversary's images are of the encoder's own pre-training set."""

import torch
from tiny_world import ATTACK, drawn

from sslauth_utils.study.recipes.shadow import pretraining_images, shadow_images


def test_shadow_images_are_the_first_of_the_encoders_own(shared):
    own = drawn("dots", size=16, count=48).images
    assert torch.equal(pretraining_images("tiny", "cifar10", 0), own)
    assert torch.equal(shadow_images("tiny", "cifar10", 0), own[:40])
    assert torch.equal(shadow_images("tiny", "cifar10", 0, ATTACK | {"shadow_images": 0}), own)
