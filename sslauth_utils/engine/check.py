"""What ``run_tests.sh`` runs: lint, the rooms' directions, then the tests, in the suite's environment.

Standard library only, like ``sslauth_utils.engine.front``.
"""

import subprocess
import sys

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import ROOT
from sslauth_utils.engine import environment

HELP = """usage: run_tests.sh [--all] [PYTEST ARGUMENT ...]

Lint, the directions of imports between rooms, and the tests; with --all those that take long, too.
Arguments go to pytest: tests/schemes, -k pruning, -x."""


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
    commands = (
        ["-m", "ruff", "check", "."],
        ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-logo"],
        ["-m", "pytest", "-n", "2", "--dist", "loadfile", *arguments],
    )
    codes = [
        subprocess.run([python, *command], cwd=ROOT, env=variables, check=False).returncode for command in commands
    ]
    return int(any(codes))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
