"""What ``run_tests.sh`` runs: lint, then all tests, in the suite's environment.

Standard library only, like ``sslauth_utils.engine.front``.
"""

import subprocess
import sys

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import ROOT
from sslauth_utils.engine import environment

HELP = """usage: run_tests.sh [PYTEST ARGUMENT ...]

Lint and all tests. Arguments go to pytest: tests/test_keys.py, -k pruning, -x."""


def main(arguments: list[str]) -> int:
    """Run both; 0 if both pass."""
    if arguments in (["--help"], ["-h"]):
        print(HELP)
        return 0
    try:
        python = environment.ensure(extra="dev")
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    # Two workers with one thread each: files side by side, not threads that wait for each other.
    variables = {**environment.clean_variables(), "OMP_NUM_THREADS": "1"}
    codes = [
        subprocess.run([python, "-m", *command], cwd=ROOT, env=variables, check=False).returncode
        for command in (["ruff", "check", "."], ["pytest", "-n", "2", "--dist", "loadfile", *arguments])
    ]
    return int(any(codes))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
