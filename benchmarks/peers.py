"""lightly's SimCLR as its documentation writes it, on our images, for the benchmarks to compare with.

Its transform gets the recipe's ranges (no blur), the images come as PIL images
as from torchvision's CIFAR-10 class, and its loss our temperature.
"""

from contextlib import nullcontext

import torch
from lightly.loss import NTXentLoss
from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import plain_bfloat16
from sslauth_utils.models.simclr import SimCLRSettings


class Pictures(Dataset):
    """Stored pixels as a torchvision data set gives them: a PIL image through a transform."""

    def __init__(self, images: Tensor, transform: SimCLRTransform):
        self.arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(Image.fromarray(self.arrays[index]))


def loader(images: Tensor, settings: SimCLRSettings, workers: int = 2) -> DataLoader:
    """Batches of [first views, second views]; the workers stay alive, so that their start is not timed."""
    transform = SimCLRTransform(
        input_size=images.shape[-1],
        cj_prob=settings.jitter_probability,
        cj_bright=settings.jitter,
        cj_contrast=settings.jitter,
        cj_sat=settings.jitter,
        cj_hue=settings.jitter / 4,
        min_scale=settings.crop_scale_min,
        random_gray_scale=settings.grayscale_probability,
        gaussian_blur=0.0,
        normalize=None,  # the encoder does it
    )
    return DataLoader(
        Pictures(images, transform),
        batch_size=settings.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
    )


class Loop:
    """The documentation's training loop; `fast` adds bfloat16 autocast and channels-last memory."""

    def __init__(self, encoder: nn.Module, head: nn.Module, settings: SimCLRSettings, device: torch.device, fast: bool):
        self.model = nn.Sequential(encoder, head).to(device).train()
        self.format = torch.channels_last if fast else torch.contiguous_format
        self.model.to(memory_format=self.format)
        self.device, self.fast = device, fast
        self.criterion = NTXentLoss(temperature=settings.temperature)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def step(self, x0: Tensor, x1: Tensor) -> Tensor:
        """One step on two views; returns the loss."""
        x0 = x0.to(self.device, memory_format=self.format)
        x1 = x1.to(self.device, memory_format=self.format)
        with plain_bfloat16(self.device) if self.fast else nullcontext():
            z0, z1 = self.model(x0), self.model(x1)
        loss = self.criterion(z0.float(), z1.float())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def epoch(self, batches: DataLoader) -> float:
        """One pass; returns the mean loss."""
        losses = [self.step(x0, x1) for x0, x1 in batches]
        return torch.stack(losses).mean().item()
