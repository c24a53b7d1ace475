"""How useful an encoder's features are: kNN and linear accuracy, beside chance.

The papers judge encoders by a downstream classifier trained on frozen
features. `linear_accuracy` is the small form of that; `knn_accuracy` is a
monitor, cheap and without training.
"""

from torch import Tensor
from torch.nn import functional as F

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.labels import as_labels


def knn_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    k: int = 200,
    temperature: float = 0.5,
) -> float:
    """Accuracy, 0 to 1, of a vote of each test image's k nearest training images.

    A neighbour of cosine similarity s votes for its class with weight
    exp(s / temperature) (Wu et al., CVPR 2018, §3.4); k = 200 and temperature
    0.5 are the monitor's of the recipe. With fewer
    than k training images all of them vote.

    Warning:
        This is a cheap proxy. It ranks epochs of one run well enough, but it is
        not the downstream accuracy that the papers print, and is usually below
        it: compare with a paper by `linear_accuracy` or by the classifier that
        the paper trains.

    Raises:
        UserError: shapes that do not fit, no images, or k or temperature not positive.
    """
    train_labels, test_labels = _labels(train_features, train_labels, test_features, test_labels)
    if k < 1 or temperature <= 0:
        raise UserError(f"kNN needs k from 1 on and a temperature above 0, not k={k}, temperature={temperature}.")
    train, test = F.normalize(train_features.float(), dim=1), F.normalize(test_features.float(), dim=1)
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    correct = 0
    for rows, labels in zip(test.split(1024), test_labels.split(1024), strict=True):
        similarity, nearest = (rows @ train.T).topk(min(k, len(train)), dim=1)
        weights = (similarity / temperature).exp()
        votes = weights.new_zeros(len(rows), classes).scatter_add_(1, train_labels.to(nearest.device)[nearest], weights)
        correct += int((votes.argmax(dim=1).cpu() == labels).sum())
    return correct / len(test)


def linear_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    strength: float = 10.0,
) -> float:
    """Accuracy, 0 to 1, of logistic regression on L2-normalised features.

    Linear evaluation as SimCLR §2.2 names it ("a linear classifier is trained on
    top of the frozen base network"), without augmentation, solved by L-BFGS.

    Args:
        strength: scikit-learn's C; features of length 1 want weak regularisation.

    Raises:
        UserError: shapes that do not fit, no images, or a single class in training.
    """
    train_labels, test_labels = _labels(train_features, train_labels, test_features, test_labels)
    if len(train_labels.unique()) < 2:
        raise UserError("A linear probe needs training images of at least two classes.")
    from sklearn.linear_model import LogisticRegression  # here, because it takes seconds to import

    probe = LogisticRegression(C=strength, max_iter=1000)
    probe.fit(F.normalize(train_features.float(), dim=1).numpy(), train_labels.numpy())
    return float(probe.score(F.normalize(test_features.float(), dim=1).numpy(), test_labels.numpy()))


def _labels(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Both kinds of labels, int64 (N,), seen to fit the features."""
    for name, rows in (("training", train_features), ("test", test_features)):
        if rows.ndim != 2 or len(rows) == 0:
            raise UserError(f"A probe needs {name} features (N, D) with N at least 1, not {tuple(rows.shape)}.")
    if train_features.shape[1] != test_features.shape[1]:
        raise UserError(
            f"Training features have width {train_features.shape[1]}, test features {test_features.shape[1]}; "
            "take both from one encoder."
        )
    return (
        as_labels(train_labels, len(train_features), what="Training labels"),
        as_labels(test_labels, len(test_features), what="Test labels"),
    )
