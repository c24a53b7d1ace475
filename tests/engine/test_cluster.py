"""What the engine does for jobs on other machines. The real thing, through Slurm, is benchmarks/slurm.sh."""

from types import SimpleNamespace

from sslauth_utils.engine import run

LOG = """[Fri Nov 27 15:20:10 2026]
Error in rule a_make_circle_seed_0:
    message: SLURM-job '10' failed, SLURM status is: 'TIMEOUT'. Reason: Unknown.For further error details see the cluster/cloud log.
    jobid: 1
[Fri Nov 27 15:20:11 2026]
Error in rule a_make_square_seed_0:
    message: None
    jobid: 2
"""  # noqa: E501 - as Snakemake writes it


def test_what_a_cluster_says_of_a_failed_job_is_told():
    def said(rule):
        return run.executor_says(SimpleNamespace(rule=rule), LOG)

    assert said("a_make_circle_seed_0") == "SLURM-job '10' failed, SLURM status is: 'TIMEOUT'. Reason: Unknown."
    assert said("a_make_square_seed_0") == ""  # failed on this machine: its own words are in status.json
    assert said("a_make_circle_seed_1") == ""
