"""One GPU for each job: which there are, and claiming one.

Snakemake counts resources but does not say which device a job may use. Each
job therefore claims a slot, a locked file in the machine's temporary folder,
and sees that one GPU only. The system drops the lock when the job ends, however it ends.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sslauth_utils.base.errors import UserError

SHARE = "SSLAUTH_GPU_SHARE"  # how many jobs may use one GPU at once; 1 if unset
PATIENCE = 60  # seconds; a driver that has to wake up many GPUs may take some


def gpus() -> list[str]:
    """UUIDs of the GPUs that this process may use (MIG instances in place of their GPU).

    ``nvidia-smi -L`` is asked rather than torch, which takes seconds to import.
    ``CUDA_VISIBLE_DEVICES`` narrows the choice, by number or by UUID.

    Raises:
        UserError: the driver does not answer.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not visible.strip():
        return []
    found: list[list[str]] = []  # one list a GPU: itself, or its MIG instances
    for line in _listed():
        identity = re.search(r"UUID: ((GPU|MIG)-[^)\s]+)", line)
        if identity and identity[2] == "GPU":
            found.append([identity[1]])
        elif identity:
            found[-1] = [uuid for uuid in found[-1] if uuid.startswith("MIG")] + [identity[1]]
    devices = [uuid for uuids in found for uuid in uuids]
    if visible is None:
        return devices
    chosen = []
    for entry in filter(None, (part.strip() for part in visible.split(","))):
        if entry.isdecimal() and int(entry) < len(devices):
            chosen.append(devices[int(entry)])
        else:
            chosen += [uuid for uuid in devices if uuid.startswith(entry)]
    return chosen


def model(device: str) -> str:
    """What the GPU of this UUID is called, "NVIDIA H200", say; of a MIG instance, its GPU and its profile."""
    gpu = ""
    for line in _listed():
        if line.startswith("GPU"):
            gpu = line.split(": ", 1)[-1].split(" (UUID")[0]
        if device in line:
            return gpu if line.startswith("GPU") else f"{gpu}, {line.split('Device')[0].strip()}"
    return device


def _listed() -> list[str]:
    """The lines of ``nvidia-smi -L``; none where there is no driver, or a broken one."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"nvidia-smi did not answer in {PATIENCE} seconds; see to the driver, or set CUDA_VISIBLE_DEVICES to "
            "nothing to compute without a GPU."
        ) from error
    return listed.stdout.splitlines() if listed.returncode == 0 else []


@contextmanager
def claim(devices: list[str], share: int | None = None, folder: Path | None = None) -> Iterator[str | None]:
    """Wait for a free slot and yield its GPU's UUID; None if there is no GPU.

    Every GPU has `share` slots; a second slot of a GPU is used only when all GPUs have one job.

    Args:
        share: jobs at once on one GPU; by default ``$SSLAUTH_GPU_SHARE``, else 1.
        folder: where the lock files lie; by default the machine's temporary folder.
    """
    if not devices:
        yield None
        return
    share = share or int(os.environ.get(SHARE, "1"))
    folder = folder or Path(tempfile.gettempdir()) / f"sslauth-gpu-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        for slot in range(share):
            for device in devices:
                with open(folder / f"{device}.{slot}", "w", encoding="utf-8") as handle:
                    try:
                        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    yield device
                    return
        time.sleep(0.2)
