"""A world in which the sample-pairing paper is right: what notebooks 20 and 21 would leave if every claim held."""

import functools

from printed_pairs import GRID, MODELS, TABLE_I, TABLE_V, TUNING, cells

SEEDS, KEYS = (0, 1), 100
NULL = [("repeated run", ""), ("batch size", "7"), ("oneDNN off", "")]
SINGLES = ("validation", "DBI", "AID", "variance", "AID as released")
PAIRS = ("pairs 1e-06", "pairs 0.0001", "pairs, calibrated", "pairs, variance only 1e-06", "pairs, no stage 1 1e-06")


def of_samples(share, first=None, **about):
    """Rows of one method for every seed and sample: `share` of them change, %, of pairs `first` by the first image."""
    changed, own = round(share / 100 * KEYS), round((share if first is None else first) / 100 * KEYS)
    single = about["method"] in SINGLES
    return [
        about | {"seed": seed, "key": key, "before": int(key < (changed if single else own)),
                 "after": "" if single else int(own <= key < changed)}
        for seed in SEEDS for key in range(KEYS)
    ]  # fmt: skip


@functools.cache
def paired():
    """Notebook to (rows, measures)."""
    shares = {cell[:4]: {} for cell in cells()}
    for model, method, tamper, strength, measure, number, _ in cells():
        shares[model, method, tamper, strength][measure] = number
    rows, measures, still = [], [], []
    for data, (model, _) in MODELS.items():
        about = {"scenario": model}
        for method in (*SINGLES, *PAIRS):
            own = about | {"method": method}
            for tamper, strength in NULL:
                rows += of_samples(0, **own, kind="run", tamper=tamper, strength=strength)
            asked = [("backdoor", 1e-5), ("8-bit weights", GRID), ("pruning", 0.001), (f"{TUNING} 0", 1)]
            asked += [("fine-tuning sgd frozen 1e-09", 1)]
            asked += [(f"{TUNING} {rate:g}", 1) for rate in (10.0**-nth for nth in range(3, 11))]
            for tamper, strength in asked:
                known = shares.get((model, method, tamper, None if tamper.startswith(TUNING) else strength), {})
                share, first = known.get("detected", _unprinted(method, tamper)), known.get("first_detected", 40)
                if method == "pairs 1e-06" and not known:
                    first = 70
                rows += of_samples(share, min(first, share), **own, kind="tamper", tamper=tamper, strength=strength)
        for seed in SEEDS:
            still.append(about | {"seed": seed, "tamper": "none", "strength": 0, "quantity": "accuracy",
                                  "value": TABLE_I[data] / 100, "n": 10_000})  # fmt: skip
            still.append(about | {"seed": seed, "tamper": "another user", "strength": 0, "quantity": "still pairs",
                                  "value": 0.0, "n": KEYS})  # fmt: skip
            for count, seconds in TABLE_V[data].items():
                for name, value in zip(("DBI", "AID", "pairs"), seconds, strict=True):
                    measures.append(about | {"seed": seed, "tamper": "cost", "strength": count, "n": count,
                                             "quantity": f"seconds {name}", "value": value})  # fmt: skip
    return {"20_sensitive_samples": ([], still), "21_sample_pairing": (rows, measures)}


def _unprinted(method, tamper):
    """What the paper does not print, but says or we ask."""
    if tamper == f"{TUNING} 0" or (method == "validation" and tamper.endswith("1e-09")):
        return 0
    of = {"variance": 30, "AID as released": 60, "pairs, variance only 1e-06": 60, "pairs, no stage 1 1e-06": 60}
    return of.get(method, 5 if method in SINGLES else 98)


def worsened(claim, rows, ours):
    """`rows`, changed so that just what `claim` says is wrong; `ours`: which it asks for, bool."""
    measure, rule = claim["measure"], claim["rule"]
    if measure == "share":
        return rows.assign(value=rows["value"].where(~ours, 0.5))
    if measure == "cost_ratio":  # the first takes three times as long, or as short
        first = rows["quantity"] == claim["where"]["quantity"][0]
        times = 1 / 3 if "at_least" in rule else 3
        return rows.assign(value=rows["value"].where(~(ours & first), rows["value"] * times))
    if measure == "false_alarm_rate":
        return _set(rows, ours & (rows["key"] < 5), 1)
    if measure == "above_false_alarms":
        return _set(rows, ours & (rows["kind"] == "tamper"), int("below" in rule))
    if measure == "gap_to_tamper":
        return _set(rows, ours & (rows["tamper"] != claim["versus"]), int("below" in rule))
    if "versus" in claim:
        return _set(rows, ours & (rows["method"] != claim["versus"]), int("at_most" in rule))
    if "at_most" in rule:
        return _set(rows, ours, 1)
    return _set(rows, ours, int(isinstance(claim["paper"], int | float) and claim["paper"] < 50))


def _set(rows, which, changed):
    """`rows` in which every image of those samples changed its label, or none did."""
    pairs = which & (rows["after"] != "")
    return rows.assign(before=rows["before"].where(~which, changed), after=rows["after"].where(~pairs, changed))
