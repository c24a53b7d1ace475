"""Training the downstream classifier: ours, against a TensorDataset in a DataLoader, in seconds.

    python -m benchmarks.classifier

The same mathematics for all: layers, order, batches, dropout and Adam; only where the
batches come from differs. The public code's loader has two workers, started every epoch,
and PyTorch's usual Adam; ours is the fused one, which rounds differently.
The last columns compare the results: accuracy on other images, and the largest
difference of a weight from ours. With the same Adam there is none; with the usual one the
last bits differ at once, and after some ten epochs of ReLU and dropout the weights do.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.timing import in_turn, machine, show
from sslauth_utils.images.load import load_images
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.features import encode, normalise
from sslauth_utils.models.heads import ClassifierSettings, build_classifier, predict, train_classifier

FUSED, USUAL, WORKERS = "loader, fused Adam", "loader", "loader, 2 workers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    facts = machine()
    settings = ClassifierSettings(options.epochs, learning_rate=1e-3)
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", 16)
    train = load_images("embedded_digits", "train", 32, options.images)
    test = load_images("embedded_digits", "test", 32)
    known, unknown = encode(encoder, train.images).clone(), encode(encoder, test.images)
    data, made = (known, train.labels, len(train.classes), settings), {}
    ways = {
        "ours": lambda: made.update({"ours": train_classifier(*data)}),
        FUSED: lambda: made.update({FUSED: by_loader(*data, workers=0, fused=True)}),
        USUAL: lambda: made.update({USUAL: by_loader(*data, workers=0, fused=False)}),
        WORKERS: lambda: made.update({WORKERS: by_loader(*data, workers=2, fused=False)}),
    }
    seconds = in_turn(ways, options.repeats, "classifier")
    medians = {name: torch.tensor(times).median().item() for name, times in seconds.items()}
    rows = [
        {"way": name, "unit": "s", "median": medians[name], "low": min(times), "high": max(times), "n": len(times),
         "this / ours": medians[name] / medians["ours"],
         "accuracy": (predict(made[name], unknown) == test.labels).double().mean().item(),
         "weight difference": largest_difference(made["ours"], made[name])}
        for name, times in seconds.items()
    ]  # fmt: skip
    facts["run"] = (
        f"{len(train)} features of {known.shape[1]}, {len(train.classes)} classes, {options.epochs} epochs in batches "
        f"of {settings.batch_size}, {options.threads} threads"
    )
    show("classifier", rows, facts)


def by_loader(
    features: Tensor, labels: Tensor, classes: int, settings: ClassifierSettings, workers: int, fused: bool
) -> nn.Module:
    """`train_classifier` with a loader, its own source of randomness leaving the dropout's alone."""
    torch.manual_seed(settings.seed)
    model = build_classifier(features.shape[1], classes).train()
    order = torch.randperm(len(features))
    pairs = TensorDataset(normalise(features)[order], labels[order])
    batches = DataLoader(pairs, settings.batch_size, num_workers=workers, generator=torch.Generator())
    adam = torch.optim.Adam(model.parameters(), settings.learning_rate, fused=fused)
    for _ in range(settings.epochs):
        for batch, truth in batches:
            loss = F.cross_entropy(model(batch), truth)
            adam.zero_grad()
            loss.backward()
            adam.step()
    return model.eval()


def largest_difference(one: nn.Module, other: nn.Module) -> float:
    """Between two weights of the same place."""
    return max((a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters(), strict=True))


if __name__ == "__main__":
    main()
