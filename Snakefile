# The graph of the runs that are to be made, one rule a run. Which these are was decided before, by
# sslauth_utils/engine/plan.py: run_all.sh freezes that plan and calls this. By hand, freezing none:
#   snakemake --config profile=demo --cores 2 --forceall
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)
from sslauth_utils.base import leash
from sslauth_utils.engine import graph, plan

PYTHON, PID = sys.executable, os.getpid()
if workflow.remote_exec:  # a cluster's job: it must not run in the front door's processes, should they share a machine
    os.environ.pop(leash.WARM, None)
if "plan" in config:
    JOBS = json.loads(Path(workflow.basedir, config["plan"]).read_text(encoding="utf-8"))
else:
    JOBS = plan.jobs(plan.pending(graph.profile_runs(config.get("profile", "demo"))), {})


rule all:
    input:
        [path for job in JOBS for path in job["outputs"]],


for job in JOBS:

    rule:
        name:
            job["name"]
        input:
            job["inputs"],
        output:
            job["outputs"],
        priority: job["priority"]
        params:
            fingerprint=job["fingerprint"],
            which=f"--profile {job['profile']} --notebook {job['notebook']}"
            + (f" --scenario {job['scenario']} --seed {job['seed']}" if job["scenario"] else ""),
        # exec: no shell stays between Snakemake and the wrapper, so that the leash holds.
        shell:
            "exec {PYTHON:q} -m sslauth_utils.base.leash --fork {PID} sslauth_utils.engine.execute {params.which}"
