"""Every rate that the sample-pairing paper prints, typed from its tables, in per cent; Table V in seconds."""

#: Table I: data to the model that the suite's profile paper calls so, and the step of stage 2 (§IV-A)
MODELS = {
    "cifar10": ("cifar10_resnet18", "pairs 1e-06"),
    "gtsrb": ("gtsrb_vgg16", "pairs 0.0001"),
    "flowers102": ("flowers102_resnet152", "pairs 1e-06"),
}
#: Table I: accuracy, %
TABLE_I = {"cifar10": 91.26, "gtsrb": 96.70, "flowers102": 98.41}
#: Table II: validation set, DBI (single, pair), AID (single, pair), theirs
TABLE_II = {
    "cifar10": (0.86, 62.46, 86.13, 61.59, 85.40, 99.59),
    "gtsrb": (0.00, 46.47, 73.66, 47.80, 74.93, 92.61),
    "flowers102": (3.20, 27.47, 47.60, 29.27, 48.47, 99.20),
}
#: Table III: the same six by learning rate
TABLE_III = {
    "cifar10": {
        1e-10: (0.00, 19.69, 38.01, 18.21, 48.36, 49.71),
        1e-9: (0.00, 22.42, 39.82, 20.70, 49.02, 77.56),
        1e-8: (0.01, 31.92, 49.47, 25.19, 51.13, 99.56),
        1e-7: (5.46, 30.67, 49.34, 25.33, 51.88, 100),
        1e-6: (0.00, 31.33, 49.85, 25.44, 53.14, 100),
        1e-5: (12.68, 31.24, 51.66, 25.38, 50.74, 100),
    },
    "gtsrb": {
        1e-8: (0.00, 47.98, 71.75, 53.3, 75.64, 51.43),
        1e-7: (0.00, 47.34, 75.33, 51.40, 74.63, 88.42),
        1e-6: (0.00, 47.32, 75.31, 53.42, 72.41, 93.72),
        1e-5: (0.00, 47.33, 76.04, 51.02, 72.17, 97.59),
        1e-4: (4.11, 47.33, 75.32, 42.71, 72.02, 99.99),
        1e-3: (39.25, 47.26, 75.33, 43.98, 72.19, 100),
    },
    "flowers102": {
        1e-10: (0.00, 3.78, 6.04, 3.43, 8.52, 68.33),
        1e-9: (0.00, 3.83, 6.28, 3.78, 8.81, 74.01),
        1e-8: (0.01, 6.67, 17.12, 8.86, 15.39, 91.82),
        1e-7: (4.77, 18.22, 32.91, 20.99, 36.06, 98.51),
        1e-6: (8.63, 15.42, 33.05, 26.65, 36.78, 99.85),
        1e-5: (11.95, 13.81, 33.56, 27.36, 36.28, 99.99),
    },
}
#: Table IV: validation set, DBI (single, pair), AID (single, pair), theirs unpaired, theirs paired
TABLE_IV = {
    "cifar10": (0.67, 28.67, 54.67, 34.00, 64.00, 41.33, 44.67),
    "gtsrb": (0.00, 59.33, 82.00, 58.67, 83.33, 62.00, 79.33),
    "flowers102": (0.67, 33.33, 64.00, 33.33, 50.67, 47.33, 49.33),
}
#: Table V, 150 and 300 samples: seconds of DBI, AID and theirs for 1000 iterations
TABLE_V = {
    "cifar10": {150: (13.92, 24.48, 14.11), 300: (15.68, 28.68, 15.96)},
    "gtsrb": {150: (24.83, 40.98, 26.42), 300: (43.73, 66.91, 44.46)},
    "flowers102": {150: (183.32, 429.93, 184.54), 300: (401.56, 765.31, 408.38)},
}

#: method and measure of each column; theirs is the model's own form of pairs
COLUMNS = [
    ("validation", "detected"), ("DBI", "detected"), ("DBI", "random_pairs_detected"), ("AID", "detected"),
    ("AID", "random_pairs_detected"), ("theirs", "detected"),
]  # fmt: skip
COLUMNS_IV = [*COLUMNS[:5], ("theirs", "first_detected"), ("theirs", "detected")]
GRID = "a layer"  # the reading of Table IV: one grid of weights a layer
TUNING = "fine-tuning sgd train"  # the reading of Table III that its numbers are compared with

#: the sentences of §IV that state settings, and the caption of Table V
SENTENCES = """
The information about the models and dataset settings used in our study, implemented using PyTorch, can be found
in Table I.

Throughout subsequent model adjustments, we consistently use 150 as the numerical base.

In our method, the learning rate is set at 1e-3 during stage 1, while in stage 2, it is 1e-4 for the VGG16 model
and 1e-6 for others. For the AID [9] method, a learning rate of 1e-1 is used on VGG16, while a rate of 1e-3 is
employed for other cases and for DBI [10].

Our approach, along with other methodologies, employs a maximum iteration count of 10,000.

In our approach to backdoor attacks, we chose to implant 10 samples with markers and designated labels into the
model, training them alongside normal samples (all using a learning rate of 1e-5) until the network completely
recognized the intended backdoor as per the specified label.

Time required for 1000 iteration rounds per Method’s Core Optimization Function.
"""


def cells():
    """(model, method, tamper, strength, measure, number, table) of every rate of Tables II to IV."""
    found = []

    def add(data, columns, tamper, strength, numbers, table):
        model, theirs = MODELS[data]
        for (method, measure), number in zip(columns, numbers, strict=True):
            found.append((model, theirs if method == "theirs" else method, tamper, strength, measure, number, table))

    for data, numbers in TABLE_II.items():
        add(data, COLUMNS, "backdoor", 1e-5, numbers, "Table II")
    for data, rates in TABLE_III.items():
        for rate, numbers in rates.items():
            add(data, COLUMNS, f"{TUNING} {rate:g}", None, numbers, "Table III")
    for data, numbers in TABLE_IV.items():
        add(data, COLUMNS_IV, "8-bit weights", GRID, numbers, "Table IV")
    return found
