"""Views per second: ours, against lightly's SimCLRTransform in a DataLoader with two workers.

    python -m benchmarks.augmentation

Both make the recipe's views of the same 32 x 32 images. The
columns mean and std describe the pixels of the last pass: the same distribution
must come out of both.
"""

import argparse

import torch

from benchmarks import peers
from benchmarks.timing import in_turn, machine, rates, show
from sslauth_utils.base.device import pick_device
from sslauth_utils.images.augment import two_views
from sslauth_utils.images.load import load_images
from sslauth_utils.models.simclr import SimCLRSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2048, help="source images in one pass (two views each)")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="auto", help="where ours runs: auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of this process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    facts = machine("lightly", "pillow")
    images = load_images("embedded_shapes", "train", 32, options.images).images
    settings = SimCLRSettings(batch_size=options.batch_size)
    stored, generator = images.to(device), torch.Generator().manual_seed(0)
    batches = peers.loader(images, settings)
    made: dict[str, list[torch.Tensor]] = {}

    def ours() -> None:
        made["ours"] = [two_views(batch, generator, **settings.views()) for batch in stored.split(options.batch_size)]
        made["ours"][-1][-1, -1, -1, -1].item()  # waits for a GPU

    def lightly() -> None:
        made["lightly, 2 workers"] = [torch.cat(pair) for pair in batches]

    seconds = in_turn({"ours": ours, "lightly, 2 workers": lightly}, options.repeats, "augmentation")
    passes = {name: rates(times, 2 * len(images)) for name, times in seconds.items()}
    rows = [
        {
            "pipeline": name,
            "unit": "views/s",
            **rate,
            "ours / this": passes["ours"]["median"] / rate["median"],
            "mean": torch.cat(made[name]).mean().item(),
            "std": torch.cat(made[name]).std().item(),
        }
        for name, rate in passes.items()
    ]
    show("augmentation", rows, facts)


if __name__ == "__main__":
    main()
