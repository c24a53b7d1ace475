"""The store: what several notebooks need is made once, then found.

An artifact lies in ``results/<profile>/artifacts/<kind>-<address>``. The address hashes all that it depends on:
the values, the data, the artifacts that it is made from, and the meaning of the code that makes it
(`base.fingerprint`). Other values or other code make another artifact: nothing stale is ever taken, and nothing is
made twice. What each depends on, and how long it took, stands in its ``made.json``.

A recipe (`study.recipes`) is a module that asks the store. It imports what it needs to make its artifact, and
nothing else.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from sslauth_utils.base.files import sha256_json, write_json
from sslauth_utils.base.fingerprint import combined, meanings
from sslauth_utils.base.paths import RESULTS
from sslauth_utils.images.identity import data_files
from sslauth_utils.study.runs import RUN_DIR, USED


@dataclass(frozen=True)
class Ingredients:
    """All that one artifact depends on.

    Attributes:
        recipe: dotted name of the module that makes it.
        values: by notebook, those of its parameters that count; what is no notebook's parameter (seed, role) under "".
        data: names of the data sets that it reads.
        made_from: addresses of the artifacts that it is made from.
    """

    recipe: str
    values: Mapping[str, Mapping[str, Any]]
    data: Sequence[str] = ()
    made_from: Sequence[str] = ()

    @property
    def address(self) -> str:
        """One SHA-256 of everything."""
        code = combined(meanings([self.recipe]))
        return sha256_json([self.values, data_files(*self.data), list(self.made_from), code])


def find_or_make(profile: str, kind: str, ingredients: Ingredients, make: Callable[[Path], None]) -> Path:
    """The folder of an artifact; `make` fills it if it is not there yet.

    `make` gets a working folder that survives a crash (checkpoints go there) and is
    renamed when complete. A lock lets a second process wait for the first.
    """
    address, code = ingredients.address, meanings([ingredients.recipe])  # now: the code may be edited meanwhile
    folder = RESULTS / profile / "artifacts" / f"{kind}-{address[:12]}"
    made = False
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not folder.is_dir():
                working = folder.with_name(folder.name + ".partial")
                working.mkdir(exist_ok=True)
                seconds = _timed(make, working)
                about = asdict(ingredients) | {"address": address, "code": code, "seconds": seconds}
                write_json(working / "made.json", about)
                working.rename(folder)
                made = True
    _note(folder, made)
    return folder


_inside = [0.0]  # seconds that making took since the process began


def _timed(make: Callable[[Path], None], folder: Path) -> float:
    """Make it; the seconds that this took, without those of other artifacts that were made on the way."""
    start, before = time.monotonic(), _inside[0]
    make(folder)
    took = time.monotonic() - start
    own = took - (_inside[0] - before)
    _inside[0] = before + took
    return round(own, 2)


def _note(folder: Path, made: bool) -> None:
    """Leave a line for the run that asked, if one does: the plan tells from it what will be found."""
    if run := os.environ.get(RUN_DIR):
        with open(Path(run) / USED, "a", encoding="utf-8") as log:
            log.write(json.dumps({"artifact": folder.name, "made": made}) + "\n")
