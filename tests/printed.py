"""Every number that the paper prints, typed from its tables and its text, in per cent."""

#: Table 1, plain backdoor: (encoder, target) to DCmp agreement, Trans agreement, DCmp success, Trans success
TABLE_1 = {
    ("imagenet", "stl10"): (23.17, 3.23, 0, 0),
    ("imagenet", "gtsrb"): (22.50, 3.21, 0, 0),
    ("imagenet", "svhn"): (28.84, 3.76, 0, 0),
    ("cifar10", "stl10"): (74.22, 21.82, 0, 0),
    ("cifar10", "gtsrb"): (74.52, 21.96, 0, 0),
    ("cifar10", "svhn"): (73.87, 21.57, 0, 0),
}
#: Tables 2 and 7, disguised backdoor: the same four numbers
TABLES_2_AND_7 = {
    ("imagenet", "stl10"): (99.98, 98.20, 100, 0),
    ("cifar10", "stl10"): (99.92, 97.33, 100, 0),
    ("cifar10", "gtsrb"): (99.92, 97.21, 100, 0),
    ("cifar10", "svhn"): (99.91, 96.73, 100, 0),
}
#: Table 7: attack success on the CIFAR-10 encoder, by target
ATTACK_SUCCESS = {"stl10": 99.56, "gtsrb": 95.33, "svhn": 97.82}
#: Table 5: (encoder, scheme) to agreement, authentication success
TABLE_5 = {
    ("imagenet", "DCmp"): (99.98, 100),
    ("imagenet", "Trans G_max"): (98.95, 14),
    ("imagenet", "Trans G_ini"): (99.20, 18),
    ("imagenet", "Trans"): (98.2, 0),
    ("cifar10", "DCmp"): (99.92, 100),
    ("cifar10", "Trans G_max"): (99.07, 16),
    ("cifar10", "Trans G_ini"): (97.83, 0),
    ("cifar10", "Trans"): (97.98, 0),
}
#: Tables 3 and 6: (keys, decimals, scheme) to agreement, authentication success. Table 6 calls keys by their data set;
#: the encoder is CIFAR-10's, so ImageNet keys are out of distribution. Table 3 repeats these.
TABLE_6 = {
    ("ood", 2, "DCmp"): (99.752, 100),
    ("ood", 2, "Trans"): (94.520, 0),
    ("ood", 3, "DCmp"): (99.997, 100),
    ("ood", 3, "Trans"): (99.875, 100),
    ("id", 2, "DCmp"): (99.762, 100),
    ("id", 2, "Trans"): (94.993, 0),
    ("id", 3, "DCmp"): (99.997, 100),
    ("id", 3, "Trans"): (99.885, 100),
}
#: Table 8: (encoder, form) to agreement, authentication success
TABLE_8 = {
    ("imagenet", "DCmp"): (99.981, 100),
    ("imagenet", "8192"): (99.926, 100),
    ("imagenet", "512"): (99.927, 100),
    ("imagenet", "128"): (99.932, 100),
    ("imagenet", "Trans"): (98.195, 0),
    ("cifar10", "DCmp"): (99.925, 100),
    ("cifar10", "8192"): (99.863, 100),
    ("cifar10", "512"): (99.862, 100),
    ("cifar10", "128"): (99.850, 100),
    ("cifar10", "Trans"): (97.330, 0),
}
#: §5.2 on Figs. 5 and 6 at 10 % pruning: encoder to agreement, authentication success of DCmp
PRUNED_BY_10 = {"imagenet": (99.89, 99), "cifar10": (99.99, 100)}
#: A.3 on Fig. 11: authentication success of Trans after the first epoch
FIRST_EPOCH = 11


def cells():
    """(notebook, scenario, keys, scheme, tamper, strength, measure, value, source), None where no claim need say it."""
    found = []

    def add(notebook, scenario, keys, scheme, tamper, strength, values, source):
        for measure, value in zip(("agreement", "auth_success"), values, strict=True):
            found.append((notebook, scenario, keys, scheme, tamper, strength, measure, value, source))

    for (scenario, target), (*agreement, dcmp, trans) in TABLE_1.items():
        for scheme, values in (("DCmp", (agreement[0], dcmp)), ("Trans", (agreement[1], trans))):
            add("06_backdoor", scenario, None, scheme, f"backdoor {target}", None, values, "Table 1")
    for (scenario, target), (*agreement, dcmp, trans) in TABLES_2_AND_7.items():
        source = "7" if target != "stl10" else "2"
        for scheme, values in (("DCmp", (agreement[0], dcmp)), ("Trans", (agreement[1], trans))):
            add("07_imitation", scenario, None, scheme, f"disguised {target}", 10, values, source)
    for (scenario, scheme), values in TABLE_5.items():
        keys = "ood g0" if scheme == "DCmp" else None
        add("10_generator_objective", scenario, keys, scheme, "disguised stl10", 10, values, "Table 5")
    for (keys, decimals, scheme), (agreement, success) in TABLE_6.items():
        about = ("08_precision_loss", "cifar10", keys, scheme, "rounding", decimals)
        found += [(*about, "agreement", agreement, "6"), (*about, "auth_success", success, "6")]
    for (scenario, form), values in TABLE_8.items():
        scheme = form if form in ("DCmp", "Trans") else f"mlp {form}"
        add("11_transformation", scenario, None, scheme, "disguised stl10", 10, values, "Table 8")
    for scenario, values in PRUNED_BY_10.items():
        add("05_pruning", scenario, None, "DCmp", "pruning", 0.1, values, "§5.2")
    add("09_key_distribution", "cifar10", "ood", "DCmp", "pruning", 0.1, PRUNED_BY_10["cifar10"], "A.2")
    found.append(("07_imitation", "cifar10", None, "Trans", "disguised stl10 10 by epoch", 1, "auth_success",
                  FIRST_EPOCH, "Fig. 11"))  # fmt: skip
    return found
