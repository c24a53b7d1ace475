#!/usr/bin/env bash
# Lint and all tests, in the same environment as run_all.sh; arguments go to pytest.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # "sh run_tests.sh"
set -euo pipefail
here="${BASH_SOURCE[0]}"
[ ! -L "$here" ] || here="$(readlink -f -- "$here")"
. "$(dirname -- "$here")/.ci/python.sh"
exec "$python" -Es -m sslauth_utils.engine.check "$@"
