"""What 09_key_distribution would only keep books with: its records, its suspects, and who shares images with whom."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from torch import Tensor

from sslauth_utils.attacks.prune import prune
from sslauth_utils.models.encoders import Encoder
from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.verification import respond, verify
from sslauth_utils.study.attack_scores import attack_scores
from sslauth_utils.study.notebook import Run
from sslauth_utils.study.recipes.backdoors import backdoored_encoder
from sslauth_utils.study.recipes.fine_tuned import fine_tuned_encoder
from sslauth_utils.study.recipes.keys import overlapping
from sslauth_utils.study.recipes.records import enrolled_record
from sslauth_utils.study.recipes.tasks import clean_task
from sslauth_utils.study.rowlog import RowLog

TARGET = "stl10"  # of the backdoor
Suspects = dict[tuple[str, float], Encoder]


def records_by_keys(run: Run, key_sets: Sequence[str]) -> dict[str, Record]:
    """The encoder's record for each key set ("ood", "id", "id:5"); prints where its keys come from."""
    records = {}
    for keys in key_sets:
        records[keys], facts = enrolled_record(*_encoder_of(run), keys)
        covered = f"{len(set(facts['labels']))} of its {len(facts['classes'])} classes"
        print(f"{keys}: {len(facts['labels'])} keys from {facts['data']}, {covered}")
    return records


def suspects_by_tamper(run: Run, encoder: Encoder, rates: Sequence[float]) -> Suspects:
    """The encoder pruned, fine-tuned and backdoored, by (tamper, strength); prints what the last two can do.

    A backdoored encoder that its attack destroyed is left out.
    """
    tuned, tuning = fine_tuned_encoder(*_encoder_of(run))
    backdoored, attack = backdoored_encoder(*_encoder_of(run), TARGET)
    scores, destroyed = attack_scores(clean_task(*_encoder_of(run), TARGET)[1], attack)
    print("fine-tuning: kNN accuracy {clean:.1%} → {tuned:.1%}".format(**tuning["scores"]))
    print("backdoor: " + ", ".join(f"{line['quantity']} {line['value']:.1%}" for line in scores[:4]))
    suspects: Suspects = {("pruning", rate): prune(encoder, rate) for rate in rates}
    suspects[f"fine-tuning {tuning['method']} {tuning['learning_rate']:g}", tuning["settings"]["epochs"]] = tuned
    if destroyed:
        print("The attack destroyed the encoder; it is not scored.")
    else:
        suspects[f"backdoor {TARGET}", 0] = backdoored
    return {tamper: suspect.to(run.device) for tamper, suspect in suspects.items()}


def log_overlaps(measures: RowLog, encoder: Encoder, records: Mapping[str, Record], shadow: Tensor) -> None:
    """Add how many keys of each set are shadow images, having seen that the intact encoder passes with every set.

    Raises:
        AssertionError: it does not, or an OOD key is a shadow image.
    """
    for keys, record in records.items():
        if encoder.sha256() != record.encoder_sha256:
            raise AssertionError(f"the sweep changed the encoder, or record {keys} is of another")
        if not verify(record, respond(encoder, record.challenge())).passed:
            raise AssertionError(f"the intact encoder does not pass with {keys}")
        shared = overlapping(record.challenge(), shadow)
        if keys == "ood" and shared:
            raise AssertionError("OOD keys must not be shadow images")
        print(f"{keys}: {shared} of {len(record.keys)} keys are shadow images")
        overlap = {"quantity": f"overlap {keys}", "value": shared, "n": len(record.keys)}
        measures.add(f"overlap {keys}", [overlap | {"tamper": f"backdoor {TARGET}", "strength": 0}])


def print_shared(records: Mapping[str, Record]) -> None:
    """Say how many keys each two of the ID key sets share."""
    for one, other in combinations([keys for keys in records if keys != "ood"], 2):
        print(f"{one} and {other} share {overlapping(records[one].keys, records[other].keys)} keys")


def _encoder_of(run: Run) -> tuple[str, str, int]:
    profile, scenario, seed = (run.parameters[name] for name in ("profile", "scenario", "seed"))
    return profile, scenario, seed
