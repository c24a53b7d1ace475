"""A data set and the role that it plays."""

import pytest

from sslauth_utils.study.roles import played, target_names


@pytest.mark.parametrize(
    ("data", "role", "told"),
    [
        ("embedded_shapes", "stl10", "shapes (as STL-10)"),
        ("tiny_imagenet", "imagenet", "tiny_imagenet (as ImageNet)"),
        ("cifar10", "cifar10", "CIFAR-10"),
        ("mine", "other", "mine (as other)"),
    ],
)
def test_a_set_is_named_with_the_role_that_it_plays(data, role, told):
    assert played(data, role) == told


def test_every_target_has_its_name():
    settings = {"targets": ["stl10", "svhn"], "target_data": ["embedded_shapes", "svhn"]}
    assert target_names(settings) == {"stl10": "shapes (as STL-10)", "svhn": "SVHN"}
