"""Sample pairs: stage 1 in steps per second, ours, written plainly, and the rivals' cores; and stage 2.

    python -m benchmarks.pairs

ResNet-20 of random weights, images of 32 pixels, float32.

* sample by sample: one image, one Adam, `backward` through the weights too, as such code is commonly written.
* all at once, plain: one batch, `backward` through the weights too.
* largest difference: of the loss of any sample at any of the first 20 steps from ours, over the loss, in float64; in
  float32 Adam's first steps turn the last bits into whole steps.
* stage 2: every step size once, from images that stage 1 moved by 100 steps; the paper has "less than 60 seconds".
* DBI, AID, AID as released: the variance alone, AID's own loss, and the released comparison's (Table V), our loops.
"""

import argparse

import torch
from torch import Tensor, nn

from benchmarks.timing import in_turn, machine, rates, show
from sslauth_utils.base.device import pick_device
from sslauth_utils.models.classifiers import build_network
from sslauth_utils.schemes import pairs, sensitive
from sslauth_utils.schemes.descent import differentiable

OURS, ONE, PLAIN = "ours", "sample by sample", "all at once, plain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=150)
    parser.add_argument("--steps", type=int, default=5, help="steps in one timed call")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args()
    facts = machine()
    facts["run"] = (
        f"ResNet-20 of width {options.width}, {options.samples} samples of 32 px, {options.steps} steps a call"
    )
    device = pick_device(options.device)
    torch.manual_seed(0)
    classifier = build_network("resnet20", 10, options.width).to(device).eval()
    layer = pairs.keyed_layer(pairs.user_key("benchmark"), 10).to(device)
    binary = nn.Sequential(classifier, layer)
    images = pairs.random_images(options.samples, 32, 0).to(device)
    settings = pairs.PairSettings(iterations=options.steps)

    def plain(parts: list[Tensor], steps: int) -> Tensor:
        """Losses, (steps, N), of a loop that goes through `parts` of the images in turn."""
        losses = []
        for part in parts:
            x = part.clone().requires_grad_()
            adam, found = torch.optim.Adam([x], settings.learning_rate), []
            for _ in range(steps):
                loss = pairs.combined_loss(binary(x), settings.weight)
                adam.zero_grad()
                loss.sum().backward()
                adam.step()
                x.data.clamp_(0, 1)
                found.append(loss.detach())
            losses.append(torch.stack(found))
        return torch.cat(losses, dim=1)

    contenders = {
        OURS: lambda: pairs.approach(classifier, layer, images, settings),
        PLAIN: lambda: plain([images], options.steps),
        ONE: lambda: plain(list(images.split(1)), options.steps),
        "DBI": lambda: sensitive.pure_variance(classifier, layer, images, options.steps),
        "AID": lambda: sensitive.aid(binary, images, options.steps),
        "AID as released": lambda: sensitive.released_aid(classifier, layer, images, options.steps),
    }
    seconds = in_turn(contenders, options.repeats, "stage 1")
    ready = pairs.approach(classifier, layer, images, pairs.PairSettings(iterations=100))
    crossing = {"stage 2": lambda: pairs.cross(classifier, layer, ready, settings.steps, settings.tries)}
    (crossed,) = in_turn(crossing, options.repeats, "stage 2").values()
    few = images[:8].double()
    binary.double()
    own = _our_losses(classifier, layer, few, settings)
    away = {PLAIN: plain([few], 20), ONE: plain(list(few.split(1)), 20)}
    speeds = {name: rates(times, options.steps) for name, times in seconds.items()}
    rows = [
        {"loop": name, "unit": "steps/s", **speed, "ours / this": speeds[OURS]["median"] / speed["median"],
         "largest difference": f"{((away[name] - own) / own).abs().max():.1e}" if name in away else ""}
        for name, speed in speeds.items()
    ]  # fmt: skip
    rows.append(dict.fromkeys(rows[0], "") | {"loop": "stage 2", "unit": "runs/s"} | rates(crossed, 1))
    show("pairs", rows, facts)


def _our_losses(classifier: nn.Module, layer: nn.Linear, images: Tensor, settings: pairs.PairSettings) -> Tensor:
    """The losses before each of 20 steps of `approach`, (20, N)."""
    found = []
    with differentiable(classifier):
        for steps in range(20):
            few = pairs.PairSettings(iterations=steps, learning_rate=settings.learning_rate)
            moved = pairs.approach(classifier, layer, images, few).to(images.device)
            outputs = pairs.outputs_of(layer, classifier(moved))
            found.append(pairs.combined_loss(outputs, settings.weight).detach())
    return torch.stack(found)


if __name__ == "__main__":
    main()
