#!/usr/bin/env bash
# Lint and all tests, in the same environment as run_all.sh; arguments go to pytest.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/.ci/python.sh"
exec "$python" -m sslauth_utils.engine.check "$@"
