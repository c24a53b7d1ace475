"""A world in which every claim about all checks together holds: what notebook 24 would leave."""

STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3)
#: the strength from which on a check sees a tamper
SEES = {"pairs, calibrated": 1e-6, "DCmp on features": 1e-5, "DCmp on features at tau": 1e-5, "DeepAuth": 1e-3}
NULL = [("repeated run", ""), ("batch size", "7"), ("oneDNN off", "")]


def crossed(sees=SEES):
    """Rows of two classifiers; every check's number is 0.25 while nothing is changed, and 0.75 if stored in 16 bits."""
    rows = []
    for seed in (0, 1):
        for method, smallest in sees.items():
            for number in (0, 1) if method == "DeepAuth" else (0,):
                about = {"scenario": "mnist_lenet5", "seed": seed, "method": method, "number": number, "n": 100}
                rows += [about | {"kind": "run", "tamper": tamper, "strength": strength, "value": 0.25}
                         for tamper, strength in NULL]  # fmt: skip
                stored = {"kind": "cast", "tamper": "weights stored as", "strength": "float16", "value": 0.75}
                rows.append(about | stored)
                rows += [
                    about | {"kind": "tamper", "tamper": tamper, "strength": strength,
                             "value": 1.0 if strength >= 10 * smallest else 0.25 + 0.25 * (strength >= smallest)}
                    for tamper in ("weight noise", "fine-tuning", "pruning") for strength in STRENGTHS
                ]  # fmt: skip
    return rows
