"""Other forms than images into which Trans could turn a feature (A.4, Table 8).

"we assess the scenario of converting feature vectors into both high-dimensional and
low-dimensional vectors" (A.4). The paper does not say how; here are a random linear map, the
first layer of the generator, a small network trained with the generator's objective and,
as ours, the features with their mean taken off. Every mapper takes float (N, D) and gives (N, d).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslauth_utils.base.device import as_device, strict_arithmetic
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.seeds import seeded
from sslauth_utils.models.features import normalise
from sslauth_utils.schemes.generator import Generator, pixel_norm
from sslauth_utils.schemes.similarity import cosine

Mapper = Callable[[Tensor], Tensor]

#: width of the hidden layer of the trained mapper; ours, the length of PGAN's default latent
HIDDEN = 512


def linear(width: int, dimension: int, seed: int = 0) -> nn.Linear:
    """A random linear map from `width` to `dimension` numbers: weights N(0, 1/width), no bias.

    It keeps cosines on average (Johnson and Lindenstrauss): for a small change, (1 - cos after) /
    (1 - cos before) has mean (d - 1) / (d - 2) and standard deviation of about 2 / sqrt(d).

    Raises:
        UserError: a width or dimension below 1.
    """
    _check_sizes(width, dimension)
    with seeded(seed):
        layer = nn.Linear(width, dimension, bias=False)
        nn.init.normal_(layer.weight, std=width**-0.5)
    return layer.eval()


class FormatLayer(nn.Module):
    """The generator's beginning, up to its first convolution, as a vector of 16 x depth numbers.

    Pixel norm, equalised linear map, leaky ReLU, pixel norm over the channels of each of the 4 x 4
    places. Table 8's 8192 is 4 x 4 x 512, the width of this layer in PGAN.

    Args:
        generator: whose first layer, trained or not, is used.
    """

    def __init__(self, generator: Generator):
        super().__init__()
        self.format, self.depth = generator.format, generator.depth

    def forward(self, features: Tensor) -> Tensor:
        places = self.format(pixel_norm(features)).view(-1, self.depth, 4, 4)
        return pixel_norm(functional.leaky_relu(places, 0.2)).flatten(1)


def format_layer(width: int, dimension: int, seed: int = 0) -> FormatLayer:
    """A `FormatLayer` with random weights that gives `dimension` numbers.

    Raises:
        UserError: a dimension that is no multiple of 16, or a width below 1.
    """
    _check_sizes(width, dimension)
    if dimension % 16:
        raise UserError(f"A format layer gives 4 x 4 places, so a multiple of 16 numbers, not {dimension}.")
    return FormatLayer(Generator(width, 4, dimension // 16, seed)).eval()


class TwoLayers(nn.Module):
    """Pixel norm, linear map, ReLU, linear map. As with the generator a positive factor on the feature is lost."""

    def __init__(self, width: int, hidden: int, dimension: int, seed: int = 0):
        super().__init__()
        with seeded(seed):
            self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, dimension)

    def forward(self, features: Tensor) -> Tensor:
        return self.second(functional.relu(self.first(pixel_norm(features))))


def projected_keys(keys: Tensor, dimension: int, seed: int = 0) -> Tensor:
    """What a vector mapper is trained away from: the keys' pixels, projected to `dimension` numbers.

    A vector has no key image of its size, so a fixed random linear map (`linear`) makes one. Each
    image's own mean is taken off first, as SSIM does within its windows: otherwise the targets of
    all keys point nearly the same way, and one constant vector is dissimilar to them all.

    Args:
        keys: float in [0, 1], (N, 3, H, W).

    Returns:
        float32 (N, dimension).
    """
    pixels = keys.flatten(1)
    pixels = pixels - pixels.mean(dim=1, keepdim=True)
    with torch.no_grad():
        return linear(pixels.shape[1], dimension, seed)(pixels)


def train_mlp(
    features: Tensor,
    targets: Tensor,
    steps: int,
    learning_rate: float = 1e-3,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> tuple[TwoLayers, list[float]]:
    """A `TwoLayers` trained as G_min is, with vectors for images: minimal similarity to the keys (eq. 2).

    The loss is the mean cosine between M(E(x)) and `targets` (`projected_keys`), one full batch a
    step, Adam.

    Args:
        features: E(K), float (N, D).
        targets: float (N, d).
        steps: full-batch steps.

    Returns:
        The mapper in eval mode on the CPU, and the loss before each step's update, in [-1, 1].

    Raises:
        UserError: different numbers of features and targets, no step, or a loss that is not finite.
    """
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        raise UserError(
            f"Training a mapper needs one target a feature, (N, D) and (N, d), not {tuple(features.shape)} and "
            f"{tuple(targets.shape)}."
        )
    if steps < 1:
        raise UserError(f"A mapper is trained for at least one step, not {steps}.")
    device = as_device(device)
    mapper = TwoLayers(features.shape[1], HIDDEN, targets.shape[1], seed).to(device)
    features, targets = features.to(device), targets.to(device)
    adam = torch.optim.Adam(mapper.parameters(), lr=learning_rate)
    history = []
    for step in range(steps):
        loss = functional.cosine_similarity(mapper(features), targets).mean()
        if not torch.isfinite(loss):
            raise UserError(f"The mapper's loss is not finite at step {step}; lower its learning rate.")
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        history.append(loss.item())
    return mapper.cpu().eval(), history


def centred(features: Tensor) -> Mapper:
    """Ours: the L2-normalised feature less the mean of `features` (E(K), normalised too).

    No network and no training. Features after a ReLU are non-negative and share a large mean
    m; with it gone, the same change is set against a shorter vector, so 1 - cos grows by about
    |v|^2 / |v - m|^2.

    Raises:
        UserError: a single feature, which would be left with nothing.
    """
    if len(features) < 2:
        raise UserError("A mean feature needs at least two key samples.")
    mean = normalise(features).mean(dim=0)
    return lambda other: normalise(other) - mean


def images_of(generator: Generator, centre: bool) -> Mapper:
    """G's images as vectors of pixels in [0, 1]: compared by cosine they are Trans without SSIM.

    Args:
        centre: take each image's own mean off, so that the cosine becomes Pearson's correlation.
    """

    def pixels(features: Tensor) -> Tensor:
        flat = generator(features).double().flatten(1)
        return flat - flat.mean(dim=1, keepdim=True) if centre else flat

    return pixels


def similarity_after(mapper: Mapper, before: Tensor, after: Tensor) -> Tensor:
    """Cosine, float64 (N,), between the mapped features of the enrolled and of the suspect encoder.

    Both are L2-normalised first, as `verification.verify` does; the map runs in strict float32, the
    cosine in float64, as DCmp.

    Args:
        before, after: float (N, D) of the same keys.
    """
    with strict_arithmetic():
        return cosine(mapper(normalise(before.float())), mapper(normalise(after.float()))).clone()


def _check_sizes(width: int, dimension: int) -> None:
    if width < 1 or dimension < 1:
        raise UserError(f"A mapper needs widths of at least 1, not {width} and {dimension}.")
