#!/usr/bin/env bash
# Front door: makes the environment if there is none, runs the notebooks, prints the table of claims.
# ./run_all.sh --help tells the options.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/.ci/python.sh"
exec "$python" -m sslauth_utils.engine.front "$@"
