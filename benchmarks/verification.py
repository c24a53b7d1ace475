"""One verification of 100 key samples, in milliseconds, against the bare encoder forward and a hash.

    python -m benchmarks.verification

* encode: the user's part, `respond`.  compare: DCmp, cosine of 100 pairs.  generate and
  compare: Trans, two passes of G and SSIM of 100 pairs.
* bare forward: the encoder on the same 100 float images, nothing else.
* SHA-256 of the file: reads the weights and hashes them, what a user could do instead who can
  read them. It is faster than any encoder; the scheme is for those who cannot.

The last two columns are quality: whether the intact encoder passes and one pruned by 10 % fails.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.timing import in_turn, machine, show
from sslauth_utils.attacks.prune import prune
from sslauth_utils.base.device import pick_device, strict_arithmetic
from sslauth_utils.base.files import sha256_file
from sslauth_utils.images.load import load_images
from sslauth_utils.models.encoders import build_encoder, save_encoder
from sslauth_utils.schemes.enrolment import enrol
from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.verification import respond, verify


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--depth", type=int, default=16, help="channels of the generator")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args()
    device = pick_device(options.device)
    torch.manual_seed(0)
    encoder = build_encoder(options.arch, options.width).eval().to(device)
    keys = load_images("embedded_photos", "train", 32, 100).images
    record = enrol(encoder, keys, ("min",), depth=options.depth, steps=20)
    without_generator = Record(record.keys, record.features, {}, record.tau, record.encoder_sha256)
    pixels = (keys.float() / 255).to(device)
    response = respond(encoder, keys)
    pruned = respond(prune(encoder, 0.1), keys)

    def forward() -> torch.Tensor:
        with strict_arithmetic():
            return encoder(pixels).cpu()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.safetensors"
        save_encoder(encoder, path)
        seconds = in_turn(
            {
                "bare encoder forward": forward,
                "encode (respond)": lambda: respond(encoder, keys),
                "compare, DCmp": lambda: verify(without_generator, response),
                "generate and compare, DCmp and Trans": lambda: verify(record, response),
                "whole verification, DCmp": lambda: verify(without_generator, respond(encoder, keys)),
                "whole verification, DCmp and Trans": lambda: verify(record, respond(encoder, keys)),
                "SHA-256 of the weights file": lambda: sha256_file(path),
            },
            options.repeats,
            "verification",
        )
    medians = {name: torch.tensor(times).median().item() for name, times in seconds.items()}
    verdicts = {
        "whole verification, DCmp": without_generator,
        "whole verification, DCmp and Trans": record,
    }
    rows = [
        {
            "part": name,
            "median ms": 1000 * medians[name],
            "low ms": 1000 * min(times),
            "high ms": 1000 * max(times),
            "n": len(times),
            "/ bare forward": medians[name] / medians["bare encoder forward"],
            "intact passes": str(verify(verdicts[name], response).passed) if name in verdicts else "",
            "pruned fails": str(not verify(verdicts[name], pruned).passed) if name in verdicts else "",
        }
        for name, times in seconds.items()
    ]
    about = {"encoder": f"{options.arch} of width {options.width}, 32 px, generator depth {options.depth}"}
    show("verification", rows, machine("pytorch-msssim") | about)


if __name__ == "__main__":
    main()
