# Sourced by run_all.sh and run_tests.sh: goes to the project's root and sets $python,
# the first Python of at least 3.11. The interpreter of an activated environment comes first.
# -E and -s wherever it is called: nothing of the user's PYTHON... variables and packages.

# Closed, they would be taken by the next file that is opened, and what is printed would go into it.
( : 3>&1 ) 2>/dev/null || exec >/dev/null
( : 3>&2 ) || exec 2>/dev/null

unset CDPATH # with it, cd may go elsewhere, and says where it goes

# A relative SSLAUTH_DATA is meant from where the user stands.
if [ -n "${SSLAUTH_DATA:-}" ] && [ -d "$SSLAUTH_DATA" ]; then
    SSLAUTH_DATA="$(cd -- "$SSLAUTH_DATA" && pwd)"
    export SSLAUTH_DATA
fi
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

find_python() {
    local candidate
    for candidate in "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" "${CONDA_PREFIX:+$CONDA_PREFIX/bin/python}" \
        python3.11 python3.12 python3.13 python3 python python3.14; do
        if [ -n "$candidate" ] && "$candidate" -Es -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    command -v uv >/dev/null || return 1
    uv python find '>=3.11' 2>/dev/null && return
    echo "There is no Python 3.11 or newer; uv fetches one." >&2
    uv python install 3.11 >&2 && uv python find 3.11
}

if ! python="$(find_python)"; then
    echo "No Python 3.11 or newer was found; install one (or uv, which can fetch it) and run again." >&2
    exit 1
fi
