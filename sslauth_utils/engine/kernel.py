"""The kernel that runs a notebook headlessly: this very Python, on a leash, with nothing of the user's own set-up.

A kernel named ``python3`` in the user's home may start another Python, and
start-up scripts in ``~/.ipython`` may change results; neither is looked at here.
"""

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.paths import jupyter_runtime_dir

from sslauth_utils.base import leash


class OwnKernelManager(AsyncKernelManager):
    """Starts ``python3`` as this interpreter, whatever kernels the user has installed.

    Sockets are files in Jupyter's runtime folder, which is this run's own, rather than ports:
    two kernels that start at once cannot be given the same port.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "transport": "ipc", "ip": f"{jupyter_runtime_dir()}/socket"})

    @property
    def kernel_spec(self) -> KernelSpec:
        arguments = leash.command("ipykernel_launcher", "-f", "{connection_file}", fork=True)
        return KernelSpec(argv=arguments, display_name="Python 3", language="python")
