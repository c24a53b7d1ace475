#!/usr/bin/env bash
# The suite through Slurm against the suite on this machine: the same rows, bit for bit?
#
#     benchmarks/slurm.sh [RESOURCE=VALUE ...]        for example: slurm_account=lab slurm_partition=cpu
#
# Runs profile smoke in two copies of the project: here, and through Slurm. There it interrupts the run and sees that no
# job is left; types the same command again, cancels one running job, and sees that the run tells so; and types the
# command once more. Ends with a table, and with 1 if anything was not as it should be. The copies lie below results/,
# so that the nodes see them, and are removed in the end. Where there is no Slurm it says so and ends with 0.
set -euo pipefail
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
export VIRTUAL_ENV="${VIRTUAL_ENV:-$root/.venv}" # the copies make no environment of their own
export SSLAUTH_THREADS=1                         # another number of threads may change the last bits

if ! command -v sbatch >/dev/null || ! sinfo --noheader >/dev/null 2>&1; then
    echo "Skipped: there is no Slurm here (no sbatch, or sinfo gets no answer)."
    exit 0
fi
if ! "$VIRTUAL_ENV/bin/python" -c "import snakemake_executor_plugin_slurm" 2>/dev/null; then
    echo "Skipped: snakemake-executor-plugin-slurm is not installed (docs/reproducing.md, On a cluster)."
    exit 0
fi
sinfo

victim=05_pruning_cifar10_seed_0
folder=results/smoke/05_pruning/cifar10-s0
mark="trial$$"
mkdir -p "$root/results"
work="$(mktemp -d -p "$root/results")"
through_slurm=(--executor slurm --slurm-jobname-prefix "$mark" --slurm-status-command squeue
    --slurm-init-seconds-before-status-checks 5 --default-resources mem_mb=3000 runtime=60 cpus_per_task=1 "$@")

front=""
cleanup() {
    if [ -n "$front" ] && kill -TERM "$front" 2>/dev/null; then wait "$front" || true; fi
    rm -rf -- "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

for copy in local slurm; do
    mkdir "$work/$copy"
    tar -C "$root" --exclude=./.git --exclude='./.venv*' --exclude=./.snakemake --exclude=__pycache__ --exclude='.*_cache' \
        --exclude='./results/[!r]*' --exclude=./data/cache --exclude=./figures -cf - . | tar -C "$work/$copy" -xf -
done

wrong=()
lines=()
run() { # run WHAT EXPECTED_CODE MEANWHILE COPY [ARGUMENT ...]: MEANWHILE is called while run_all.sh works
    local what="$1" expected="$2" meanwhile="$3" copy="$4" code=0 start=$SECONDS
    shift 4
    printf '\n== %s ==\n' "$what"
    "$work/$copy/run_all.sh" --profile smoke "$@" >"$work/said" 2>&1 &
    front=$!
    "$meanwhile"
    wait "$front" || code=$?
    front=""
    if [ "$code" = "$expected" ]; then # without the plan and the table of claims
        grep -E '^Profile|^\[|failed$|SLURM-job|^Interrupted|^Report' "$work/said" || true
    else
        cat "$work/said"
        wrong+=("$what ended with $code, not $expected")
    fi
    lines+=("$(printf '%-34s %7d %10d %5d' "$what" $((SECONDS - start)) "$(grep -c ' done in ' "$work/said" || true)" $code)")
}
ours() { squeue --noheader --format='%j %i %k' "$@" | awk -v mark="$mark" 'index($1, mark) == 1 { print $2, $3 }'; }
wait_for_victim() { # until its notebook runs; then $job is its job, "" if the run ended before
    job=""
    until [ -n "$job" ] && grep -qs running "$work/slurm/$folder/status.json"; do
        kill -0 "$front" 2>/dev/null || return 0
        job="$(ours --states=RUNNING | awk -v rule="rule_$victim" '$2 == rule { print $1 }')"
        sleep 0.2
    done
    squeue --format='%8i %9T %5C %7m %10l %k'
}
interrupt() {
    wait_for_victim
    echo "kill $front"
    kill -TERM "$front" || true
}
cancel() {
    wait_for_victim
    echo "scancel $job"
    [ -z "$job" ] || scancel "$job"
}
hashes() { (cd "$work/$1/results/smoke" && find . -name rows.csv -print0 | sort -z | xargs -0 sha256sum); }

run "local" 0 true local
run "Slurm, interrupted" 130 interrupt slurm --jobs 8 -- "${through_slurm[@]}"
sleep 10 # for those that are on their way out
[ -z "$(ours)" ] || wrong+=("jobs were left in the queue: $(ours | tr '\n' ' ')")
run "Slurm, again, one job cancelled" 1 cancel slurm --jobs 8 -- "${through_slurm[@]}"
grep -q "CANCELLED" "$work/said" || wrong+=("the run did not tell that a job was cancelled")
run "Slurm, and again" 0 true slurm --jobs 8 -- "${through_slurm[@]}"

hashes local >"$work/local.sha256"
hashes slurm >"$work/slurm.sha256"
files=$(wc -l <"$work/local.sha256")
equal=$(comm -12 "$work/local.sha256" "$work/slurm.sha256" | wc -l)
[ "$files" -gt 0 ] && cmp -s "$work/local.sha256" "$work/slurm.sha256" || wrong+=("rows.csv differ")

printf '\n%-34s %7s %10s %5s\n' run seconds notebooks code
printf '%s\n' "${lines[@]}"
echo "rows.csv: $equal of $files equal by SHA-256; of all together: $(sha256sum <"$work/local.sha256" | cut -c1-12)" \
    "and $(sha256sum <"$work/slurm.sha256" | cut -c1-12)"
for what in "${wrong[@]}"; do echo "Wrong: $what"; done
[ ${#wrong[@]} = 0 ]
