"""Hand the reference's encoders to a profile's next run, which then trains none.

python -m sslauth_utils.study.reference_encoders lite
"""

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path

from sslauth_utils.base.errors import UserError, command
from sslauth_utils.base.files import read_json, sha256_file
from sslauth_utils.base.paths import RESULTS
from sslauth_utils.images.load import load_images
from sslauth_utils.study.profiles import PRETRAIN, notebook_settings
from sslauth_utils.study.recipes.encoders import encoder_ingredients
from sslauth_utils.study.store import find_or_make


def lay_out_encoders(profile: str) -> list[Path]:
    """Put the reference's encoders where a run of `profile` looks for them; returns their folders.

    Their addresses are those of the code and images that are here now, so the caller vouches
    that they would train the same encoders.

    Raises:
        UserError: there are none, they were trained with other settings than the profile's, their images are not
            here, so that a run that finds the images would look elsewhere, and train; or another one lies there.
    """
    found = sorted((RESULTS / "reference" / profile / "encoders").glob("*-s*.json"))
    if not found:
        raise UserError(f"There are no reference encoders of profile {profile} in results/reference.")
    wanted = []
    for path in found:
        scenario, _, seed = path.stem.rpartition("-s")
        now, then = notebook_settings(profile, PRETRAIN, scenario, int(seed), None), read_json(path)["settings"]
        # Where it was trained is past, and what it was tested on is no part of it.
        asked = {*now, *then} - {"device", "test_images"}
        if changed := sorted(name for name in asked if now.get(name) != then.get(name)):
            raise UserError(
                f"The reference encoder {path.stem} was trained with another {changed[0]} ({then.get(changed[0])!r}) "
                f"than profile {profile} asks for ({now.get(changed[0])!r}); let the run train its own."
            )
        load_images(now["pretrain_data"], "train", now["size"], 1)
        wanted.append((path, f"encoder-{path.stem}", encoder_ingredients(scenario, int(seed), now)))

    def copy(path: Path, folder: Path) -> None:
        for suffix in (".safetensors", ".json"):
            shutil.copyfile(path.with_suffix(suffix), folder / f"encoder{suffix}")

    found = [find_or_make(profile, kind, address, partial(copy, path)) for path, kind, address in wanted]
    for (path, _, _), folder in zip(wanted, found, strict=True):
        if sha256_file(folder / "encoder.safetensors") != sha256_file(path.with_suffix(".safetensors")):
            raise UserError(
                f"{folder.relative_to(RESULTS.parent)} holds another encoder, which was trained here; remove that "
                "folder, and the reference's takes its place."
            )
    return found


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", help="whose reference")
    for folder in lay_out_encoders(parser.parse_args().profile):
        print(f"Written: {folder.relative_to(RESULTS.parent)}")


if __name__ == "__main__":
    sys.exit(main())
