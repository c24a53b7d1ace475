#!/usr/bin/env bash
# Front door: makes the environment if there is none, runs the notebooks, ends with one screen on what came out.
# ./run_all.sh --help tells the options.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # "sh run_all.sh"
set -euo pipefail
here="${BASH_SOURCE[0]}"
[ ! -L "$here" ] || here="$(readlink -f -- "$here")"
. "$(dirname -- "$here")/.ci/python.sh"
exec "$python" -Es -m sslauth_utils.engine.front "$@"
