#!/usr/bin/env bash
# Lint and all tests, in the same environment as run_all.sh; arguments go to pytest.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # "sh run_tests.sh"
set -euo pipefail
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.ci/python.sh" # also through a link
exec "$python" -Es -m sslauth_utils.engine.check "$@"
