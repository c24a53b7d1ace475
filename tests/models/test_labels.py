"""Labels: any whole numbers, one an image, or a sentence."""

import numpy as np
import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.classifiers import accuracy
from sslauth_utils.models.labels import as_labels

KINDS = {
    "int64": torch.tensor([0, 2, 1]), "int32": torch.tensor([0, 2, 1], dtype=torch.int32),
    "uint8": torch.tensor([0, 2, 1], dtype=torch.uint8), "list": [0, 2, 1], "numpy": np.array([0, 2, 1]),
    "big-endian": np.array([0, 2, 1], dtype=">i4"),
}  # fmt: skip


@pytest.mark.parametrize("given", KINDS.values(), ids=KINDS.keys())
def test_whole_numbers_of_any_kind_are_labels(given):
    labels = as_labels(given, 3, 3)
    assert labels.dtype == torch.int64 and labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.tensor([[0], [2], [1]]), "shape (3,), not int64 (3, 1)."),
        (torch.eye(3, dtype=torch.int64), "shape (3,), not int64 (3, 3)."),
        (torch.tensor([1]), "shape (3,), not int64 (1,)."),
        (torch.tensor(1), "shape (3,), not int64 ()."),
        (torch.tensor([0.0, 1, 2]), "not float32 (3,)."),
        (torch.tensor([True, False, True]), "not bool (3,)."),
        (torch.tensor([0, -1, 2]), "from -1 to 2 do not fit 3 classes."),
        (torch.tensor([0, -100, 2]), "from -100 to 2 do not fit 3 classes."),
        (torch.tensor([1, 2, 3]), "from 1 to 3 do not fit 3 classes."),
        ("cat", "must be one label an image"),
        (None, "must be one label an image"),
    ],
    ids=["column", "one-hot", "one", "number", "floats", "bool", "negative", "ignored", "too-large", "text", "none"],
)
def test_anything_else_is_told(given, said):
    with pytest.raises(UserError) as caught:
        as_labels(given, 3, 3, "Truth")
    assert str(caught.value).startswith("Truth ") and said in str(caught.value)


def test_without_a_number_of_classes_only_the_sign_is_looked_at():
    assert as_labels([7, 0], 2).tolist() == [7, 0]
    with pytest.raises(UserError, match="must be 0 or more"):
        as_labels([7, -1], 2)


def test_accuracy_is_that_of_labels_and_of_nothing_that_broadcasts():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 4))
    images = torch.rand(10, 3, 4, 4)
    truth = model(images).argmax(dim=1)
    for given in (truth, truth.tolist(), truth.numpy(), truth.int()):
        assert accuracy(model, images, given) == 1
    for given in (truth[:, None], truth[:1]):
        with pytest.raises(UserError, match="one label an image"):
            accuracy(model, images, given)
