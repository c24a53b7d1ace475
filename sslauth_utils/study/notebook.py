"""The beginning and the end of every notebook: one path for headless runs and by hand."""

import os
import platform
import random
import resource
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import NOTEBOOKS, RESULTS
from sslauth_utils.study.parameters import check, defaults
from sslauth_utils.study.rowlog import RowLog
from sslauth_utils.study.rows import COLUMNS, MEASURE_COLUMNS
from sslauth_utils.study.runs import FINGERPRINT, PEAK, RUN_DIR


class Run:
    """One execution of a notebook.

    Attributes:
        folder: where its rows go: ``$SSLAUTH_RUN_DIR`` when run headless, else
            ``results/by_hand/<notebook>/<scenario>-s<seed>``, so that a run by hand
            never replaces a headless one.
        headless: True under papermill; sliders and other toys are skipped then.
        device: where training and encoding run; None in a notebook without PyTorch.
    """

    def __init__(self, notebook: str, parameters: Mapping[str, Any]):
        self.notebook = notebook
        self.parameters = dict(parameters)
        given = os.environ.get(RUN_DIR)
        self.headless = given is not None
        part = f"{parameters['scenario']}-s{parameters['seed']}" if "scenario" in parameters else "all"
        self.folder = Path(given) if given else RESULTS / "by_hand" / notebook / part
        self.device = _device(parameters.get("device", "auto")) if "torch" in sys.modules else None

    def rows(self, columns: Sequence[str] = COLUMNS, **constant: Any) -> RowLog:
        """A log for this run's ``rows.csv``; experiment, scenario and seed are filled in."""
        return self._log("rows", columns, constant)

    def measures(self, **constant: Any) -> RowLog:
        """A log for this run's ``measures.csv``: utility, attack success and losses, which belong to no key."""
        return self._log("measures", MEASURE_COLUMNS, constant)

    def _log(self, name: str, columns: Sequence[str], constant: Mapping[str, Any]) -> RowLog:
        fixed = {"experiment": self.notebook}
        fixed |= {name: self.parameters[name] for name in ("scenario", "seed") if name in self.parameters}
        # By hand a cell may have been edited and not saved, so nothing is taken over from before.
        fingerprint = os.environ[FINGERPRINT] if self.headless else f"by hand {os.getpid()}"
        return RowLog(self.folder, columns, fingerprint, fixed | dict(constant), name)


def _device(name: str) -> Any:
    from sslauth_utils.base.device import pick_device

    return pick_device(name)


def _note_memory(folder: Path) -> None:
    """Leave this process's largest resident memory after every cell: the process may be a fork of nobody's child."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        unit = 1 if sys.platform == "linux" else 1024  # macOS counts bytes

        def note(*_: Any) -> None:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
            (folder / PEAK).write_text(str(peak), encoding="utf-8")

        shell.events.register("post_run_cell", note)


def start(notebook: str, values: Mapping[str, Any]) -> Run:
    """Seed everything, fix the threads, say versions and device, and return the `Run`.

    Args:
        notebook: its file name without ``.ipynb``.
        values: of the notebook's parameters; other names are left alone, so ``globals()`` will do.

    Raises:
        UserError: a parameter is missing or of another type than in the parameters cell.
    """
    source = NOTEBOOKS / f"{notebook}.ipynb"
    names = defaults(source)
    if absent := [name for name in names if name not in values]:
        raise UserError(f"{notebook} was started without its parameter {absent[0]!r}; run its parameters cell first.")
    given = {name: values[name] for name in names}
    parameters = check(given, source, "this run")
    seed = parameters.get("seed", 0)
    random.seed(seed)
    np.random.seed(seed)
    where = "no PyTorch needed"
    if "torch" in sys.modules:  # a notebook that only draws waits for none
        import torch

        from sslauth_utils.base.device import use_threads

        torch.manual_seed(seed)
        where = f"CPU, {use_threads()} thread(s)"
    run = Run(notebook, parameters)
    if run.headless:
        _note_memory(run.folder)
    if run.device is not None and run.device.type == "cuda":
        where = torch.cuda.get_device_name()
    print(
        f"Python {platform.python_version()} · PyTorch {version('torch').split('+')[0]} · "
        f"torchvision {version('torchvision').split('+')[0]} · {where} · profile {parameters.get('profile')}"
    )
    return run
