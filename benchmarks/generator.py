"""Generator training, steps per second: ours, against a plain float32 loop over PGAN's layers as published.

    python -m benchmarks.generator

100 features, one full batch a step, G_min, the same starting weights for all. The plain
loop is float32 and NCHW; its layers scale their output, bias included, as the
public PGAN code does; loss by pytorch_msssim, Adam.

* plain, bfloat16: the same layers with our arithmetic (autocast, channels-last memory).
* SSIM: after the same number of steps (it is being minimised).
"""

import argparse
import contextlib
from contextlib import ExitStack

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.remote import Remote
from benchmarks.timing import in_turn, machine, plain_bfloat16, rates, show
from sslauth_utils.base.device import pick_device
from sslauth_utils.images.load import load_images
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.features import encode
from sslauth_utils.schemes import generator

PLAIN, PLAIN_FAST, OURS32, OURS = "plain, float32", "plain, bfloat16", "ours, float32", "ours, as used"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--depths", type=int, nargs="+", default=[16, 32], help="channels of every scale")
    parser.add_argument("--steps", type=int, default=20, help="steps in one timed training")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of each process")
    options = parser.parse_args()
    facts = machine("pytorch-msssim")
    facts["run"] = f"{options.keys} keys of 32 px, features of 128, {options.steps} steps, {options.threads} threads"
    rows = []
    for depth in options.depths:
        with ExitStack() as stack:
            loops = {name: stack.enter_context(Remote(Contender, name, depth, options))
                     for name in (PLAIN, PLAIN_FAST, OURS32, OURS)}  # fmt: skip
            seconds = in_turn({name: lambda loop=loop: loop("train") for name, loop in loops.items()},
                              options.repeats, f"depth {depth}")  # fmt: skip
            reached = {name: loop("reached") for name, loop in loops.items()}
        speeds = {name: rates(times, options.steps) for name, times in seconds.items()}
        rows += [
            {"depth": depth, "loop": name, "unit": "steps/s", **speed,
             "ours / this": speeds[OURS]["median"] / speed["median"], "SSIM": reached[name]}
            for name, speed in speeds.items()
        ]  # fmt: skip
    show("generator", rows, facts)


class PlainGenerator(nn.Module):
    """PGAN's generator layer by layer, on another generator's weights."""

    def __init__(self, like: generator.Generator):
        super().__init__()
        self.depth, kept = like.depth, lambda layer: (layer.module, layer.scale)
        self.format, self.first, self.to_rgb = kept(like.format), kept(like.first), kept(like.to_rgb)
        self.scales = [[kept(layer) for layer in scale] for scale in like.scales]
        self.layers = nn.ModuleList(m for m in like.modules() if isinstance(m, nn.Linear | nn.Conv2d))

    def forward(self, features: Tensor) -> Tensor:
        x = _scaled(self.format, _norm(features)).view(-1, self.depth, 4, 4)
        x = _norm(F.leaky_relu(_scaled(self.first, _norm(F.leaky_relu(x, 0.2))), 0.2))
        for scale in self.scales:
            x = F.interpolate(x, scale_factor=2)
            for layer in scale:
                x = _norm(F.leaky_relu(_scaled(layer, x), 0.2))
        return (torch.tanh(_scaled(self.to_rgb, x)) + 1) / 2


def _scaled(layer: tuple[nn.Module, float], x: Tensor) -> Tensor:
    module, scale = layer
    return module(x) * scale


def _norm(x: Tensor) -> Tensor:
    return x * (((x**2).mean(dim=1, keepdim=True) + 1e-8).rsqrt())


class Contender:
    """One loop; every `train` starts anew."""

    def __init__(self, name: str, depth: int, options: argparse.Namespace):
        torch.set_num_threads(options.threads)
        if name == OURS32:
            generator.autocast = lambda device: contextlib.nullcontext()
        self.name, self.depth, self.steps = name, depth, options.steps
        self.device = pick_device(options.device)
        keys = load_images("embedded_photos", "train", 32, options.keys).images
        torch.manual_seed(0)
        self.features = encode(build_encoder("resnet18", 16), keys).clone()
        self.keys = keys.float() / 255

    def train(self) -> None:
        if self.name in (OURS32, OURS):
            arguments = self.features, self.keys, "min", self.steps, 32, self.depth
            self.trained, _ = generator.train_generator(*arguments, device=self.device)
        else:
            self.trained = self.plain(self.name == PLAIN_FAST)

    def plain(self, fast: bool) -> PlainGenerator:
        model = PlainGenerator(generator.Generator(self.features.shape[1], 32, self.depth)).to(self.device)
        if fast:
            model.to(memory_format=torch.channels_last)
        adam = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.0, 0.99))
        features, keys = self.features.to(self.device), self.keys.to(self.device)
        for _ in range(self.steps):
            with plain_bfloat16(self.device) if fast else contextlib.nullcontext():
                images = model(features)
            loss = ssim(images.float(), keys, data_range=1.0)
            adam.zero_grad()
            loss.backward()
            adam.step()
            loss.item()
        return model.cpu()

    def reached(self) -> float:
        """Mean SSIM of the last training's images to the keys, in float32."""
        with torch.no_grad():
            return ssim(self.trained(self.features), self.keys, data_range=1.0).item()


if __name__ == "__main__":
    main()
