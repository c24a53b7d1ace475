# The dependency graph: one rule a run, made from config/<profile>.yaml and the notebooks' metadata
# (sslauth_utils/graph.py). run_all.sh calls it; by hand: snakemake --config profile=demo --cores 2
import json
import os
import sys

sys.path.insert(0, workflow.basedir)
from sslauth_utils.graph import profile_runs

PYTHON, PID = sys.executable, os.getpid()
RUNS = profile_runs(config.get("profile", "demo"))


rule all:
    input:
        [path for run in RUNS for path in run.outputs],


for run in RUNS:

    rule:
        name:
            run.name.replace(" ", "_").replace("-", "_")
        input:
            run.inputs,
        output:
            run.outputs,
        params:
            values=json.dumps(run.values, sort_keys=True),
            # Which run it is does not change what it computes: kept out of the values above.
            which=f"--profile {run.profile} --notebook {run.notebook}"
            + (f" --scenario {run.scenario} --seed {run.seed}" if run.scenario else ""),
        # exec: no shell stays between Snakemake and the wrapper, so that the leash holds.
        shell:
            "exec {PYTHON:q} -m sslauth_utils.leash {PID} sslauth_utils.execute {params.which}"
