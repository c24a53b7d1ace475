"""The generator G that turns feature vectors into images (scheme Trans).

"For the generative model ..., we opt for PGAN ... as the default choice and trained
for 1000 epochs." (§5.1) The architecture is the reference PGAN generator's (Karras
et al. 2017; docs/method.md), with a tanh output mapped to [0, 1]; `train_generator` holds the three objectives.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from sslauth_utils.base.checks import check_number, check_whole, is_whole
from sslauth_utils.base.device import as_device, autocast, plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.seeds import SEEDS, seeded
from sslauth_utils.schemes.similarity import ssim

OBJECTIVES = ("ini", "max", "min")


def pixel_norm(x: Tensor) -> Tensor:
    """Divide each feature vector (dimension 1) by its root mean square.

    As PGAN's first operation on the latent it makes G blind to a positive factor
    on the feature: G(c v) = G(v) for c > 0.
    """
    return x * _pixel_scale(x).to(x.dtype)  # no float32 copy of x under autocast


def _pixel_scale(x: Tensor) -> Tensor:
    return torch.rsqrt(_channel_mean(x.square()).float() + 1e-8)


def _channel_mean(x: Tensor) -> Tensor:
    """The mean over dimension 1, of a shape that broadcasts to x's; summed in float32 whatever the type.

    On a CPU PyTorch's mean of bfloat16 makes a float32 copy first; a product with a constant matrix does not. Where
    there are fewer channels than a CPU's vector has numbers (32), one value a pixel would then be multiplied number
    by number: the matrix gives them all channels at once.
    """
    if x.dtype != torch.bfloat16 or x.is_cuda or not x.is_contiguous(memory_format=torch.channels_last):
        return x.mean(dim=1, keepdim=True)
    channels = x.shape[1]
    spread = x.new_full((channels, channels if channels < 32 else 1), 1 / channels)
    return (x.permute(0, 2, 3, 1) @ spread).permute(0, 3, 1, 2)


class _Activation(torch.autograd.Function):
    """Leaky ReLU and then `pixel_norm`, as one function with a short backward pass.

    With y = x or 0.2 x, r = 1 / rms(y) over the channels and z = r y, a gradient g at z is r (g - z mean(g z)) at y,
    again times 1 or 0.2 at x. Autograd goes four times over what this goes over once: the two took half of a
    training step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = functional.leaky_relu(x, 0.2)
        scale = _pixel_scale(y).to(y.dtype)
        z = y.mul_(scale)
        ctx.save_for_backward(z, scale)
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        z, scale = ctx.saved_tensors
        along = _channel_mean(gradient * z)
        at_y = torch.addcmul(gradient, z, along, value=-1).mul_(scale)
        return torch.ops.aten.leaky_relu_backward(at_y, z, 0.2, True)  # the sign of z is that of x


class _Equalized(nn.Module):
    """Equalised learning rate: N(0, 1) weights, scaled at runtime by sqrt(2 / fan_in).

    Karras et al. 2017, §4.1: "dynamically scale the weights at runtime". The reference
    code scales the output, bias included; scaling weights and bias is the same and cheaper.
    """

    def __init__(self, module: nn.Linear | nn.Conv2d):
        super().__init__()
        self.module = module
        nn.init.normal_(module.weight)
        nn.init.zeros_(module.bias)
        self.scale = math.sqrt(2 / module.weight[0].numel())

    def forward(self, x: Tensor, upsample: bool = False) -> Tensor:
        weight, bias = self.module.weight * self.scale, self.module.bias * self.scale
        if isinstance(self.module, nn.Linear):
            return functional.linear(x, weight, bias)
        if upsample:
            x = functional.conv_transpose2d(x, _upsampling_kernel(weight), stride=2, padding=1)
            return x.add_(bias.to(x.dtype).view(1, -1, 1, 1))  # a CPU's gradient of its own bias doubles the time
        return functional.conv2d(x, weight, bias, padding=self.module.padding)


def _upsampling_kernel(weight: Tensor) -> Tensor:
    """The kernel whose transposed convolution of stride 2 is nearest-neighbour upsampling and then `weight`'s.

    Four neighbours of the doubled image are one pixel, so 4 x 4 weights, summed beforehand, do what 9 did at each of
    four pixels (Karras et al. 2019 fuse the two in this way): 4 products in place of 9, and half the time.
    """
    wide = functional.pad(weight, (1, 1, 1, 1))
    summed = wide[..., 1:, 1:] + wide[..., :-1, 1:] + wide[..., 1:, :-1] + wide[..., :-1, :-1]
    return summed.flip(-2, -1).transpose(0, 1)


class Generator(nn.Module):
    """PGAN generator: features (N, latent) to RGB images in [0, 1], (N, 3, size, size).

    Args:
        latent: length of a feature vector.
        size: side of the images; 4 x 2^k.
        depth: channels of every scale.
        seed: for the initial weights; the same seed gives the same G_ini.

    Raises:
        UserError: a size that is not 4, 8, 16, ..., a depth or latent below 1, a seed that PyTorch does not take.

    Deterministic at inference: there is no noise input, so the paper's "introduced
    randomness" can only be the random initial weights.
    """

    def __init__(self, latent: int, size: int = 32, depth: int = 512, seed: int = 0):
        super().__init__()
        check_settings(size, depth, seed)
        check_whole("The generator's latent width", latent, 1)
        scales = round(math.log2(size / 4))
        self.config = {"latent": latent, "size": size, "depth": depth, "seed": seed}
        self.latent, self.depth = latent, depth
        with seeded(seed), plain_tensors():
            self.format = _Equalized(nn.Linear(latent, 16 * depth))
            self.first = _Equalized(nn.Conv2d(depth, depth, 3, padding=1))
            self.scales = nn.ModuleList(
                nn.ModuleList(_Equalized(nn.Conv2d(depth, depth, 3, padding=1)) for _ in range(2))
                for _ in range(scales)
            )
            self.to_rgb = _Equalized(nn.Conv2d(depth, 3, 1))

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim != 2 or features.shape[1] != self.latent:
            raise UserError(
                f"The generator takes features of shape (N, {self.latent}), not {tuple(features.shape)}; "
                "was it enrolled with another encoder?"
            )
        x = self.format(pixel_norm(features)).view(-1, self.depth, 4, 4)
        x = _Activation.apply(self.first(_Activation.apply(x)))
        for first, second in self.scales:
            x = _Activation.apply(first(x, upsample=True))
            x = _Activation.apply(second(x))
        # The one place where images get their range; SSIM downstream uses data_range 1.
        return (torch.tanh(self.to_rgb(x).float()) + 1) / 2


def check_settings(size: int, depth: int, seed: int, steps: int = 0, learning_rate: float = 1e-3) -> None:
    """See that a generator can be made and trained so.

    Raises:
        UserError: a size that is not 4, 8, 16, ..., a depth below 1, a seed that PyTorch does not take, steps below 0,
            or a learning rate that is not above 0.
    """
    if not is_whole(size) or size < 4 or size & (size - 1):
        raise UserError(f"A PGAN generator makes images of side 4, 8, 16, 32, ..., not {size!r}.")
    check_whole("The generator's depth", depth, 1)
    check_whole("The generator's seed", seed, *SEEDS)
    check_whole("The generator's training steps", steps, 0)
    check_number("The generator's learning rate", learning_rate, 0, above=True)


@plain_tensors()
def train_generator(
    features: Tensor,
    keys: Tensor,
    objective: str,
    steps: int,
    size: int = 32,
    depth: int = 512,
    learning_rate: float = 1e-3,
    seed: int = 0,
    device: torch.device | str = "cpu",
    watch: Callable[[int, "Generator"], None] | None = None,
) -> tuple[Generator, list[dict[str, Any]]]:
    """Train one of the paper's three generators on the key samples.

    ``ini``: "an initial generative model without training"; ``max``: "trained to
    maximize the similarity between the reconstructed image and the key samples";
    ``min``: "trained to minimize the similarity" (§6), eq. 2. The loss is the mean
    SSIM between G(E(x)) and x over all keys, one full batch a step (the paper's
    1000 epochs over 100 keys), Adam with PGAN's betas (0, 0.99).

    Args:
        features: E(K), float (N, D).
        keys: K resized to the generator's size, float in [0, 1], (N, 3, size, size).
        objective: ini, max or min.
        steps: full-batch steps; ignored by ``ini``.
        watch: called after each step with the number of steps so far and the generator in training, which it must
            leave as it is.

    Returns:
        The generator in eval mode on the CPU, float32, and the history: one row
        {objective, step, ssim} a step, ssim before that step's update.

    Raises:
        UserError: unknown objective, settings out of range, sizes that do not fit, or a loss that is not finite.
    """
    check_settings(size, depth, seed, steps, learning_rate)
    if objective not in OBJECTIVES:
        raise UserError(f"Unknown generator objective {objective!r}; use one of {', '.join(OBJECTIVES)}.")
    if keys.shape != (len(features), 3, size, size):
        raise UserError(
            f"Training a {size}-pixel generator on {len(features)} features needs keys of shape "
            f"({len(features)}, 3, {size}, {size}), not {tuple(keys.shape)}."
        )
    device = as_device(device)
    generator = Generator(features.shape[1], size, depth, seed).to(device)
    history: list[dict[str, Any]] = []
    if objective != "ini":
        sign = 1 if objective == "min" else -1
        features, keys = features.to(device).clone(), keys.to(device).clone()  # never tensors of inference mode
        adam = torch.optim.Adam(generator.parameters(), lr=learning_rate, betas=(0.0, 0.99))
        generator.to(memory_format=torch.channels_last)
        progress = tqdm(range(steps), desc=f"G_{objective}", unit="step", mininterval=1)
        for step in progress:
            with autocast(device):
                images = generator(features)
            similarity = ssim(images, keys, data_range=1.0).mean()
            adam.zero_grad(set_to_none=True)
            (sign * similarity).backward()
            adam.step()
            value = similarity.item()
            if not math.isfinite(value):
                raise UserError(f"G_{objective}'s SSIM is not finite at step {step}; lower its learning rate.")
            history.append({"objective": objective, "step": step, "ssim": value})
            progress.set_postfix(ssim=f"{value:.3f}", refresh=False)
            if watch is not None:
                watch(step + 1, generator)
    return generator.to("cpu", memory_format=torch.contiguous_format).eval(), history


def key_targets(keys: Tensor, size: int) -> Tensor:
    """The keys as a generator sees them in training: float in [0, 1], (N, 3, size, size).

    Args:
        keys: uint8 (N, 3, H, W); resized if need be.
    """
    images = keys.float() / 255
    if images.shape[-2:] != (size, size):
        images = functional.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return images
