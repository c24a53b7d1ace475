"""Every number that the DeepAuth paper prints, typed from its tables and its text."""

#: Table 1: (network, learning rate) to success, epochs, unchanged, C2W, W2C, W2W; in per cent but for the epochs
TABLE_1 = {
    ("mnist_lenet5", 1e-4): (100, 123.40, 99.51, 0.24, 0.22, 0.03),
    ("mnist_lenet5", 1e-3): (100, 14.37, 99.39, 0.33, 0.24, 0.04),
    ("cifar10_vgg16", 1e-6): (99.9, 83.85, 97.92, 0.79, 0.79, 0.50),
    ("cifar10_vgg16", 1e-5): (99.8, 43.38, 97.61, 0.94, 0.88, 0.57),
}
#: Table 2: network to authentication success, %, at tolerances of 40, 30, 20, 10, 0 %
TABLE_2 = {"mnist_lenet5": (24.6, 23.9, 13.7, 5.5, 2.0), "cifar10_vgg16": (0.0, 0.0, 0.0, 0.0, 0.0)}
TOLERANCES = (0.4, 0.3, 0.2, 0.1, 0.0)
#: Table 3, ImageNet: learning rate to success, epochs, change of the accuracy in points
TABLE_3 = {1e-6: (100, 78.55, 1.57), 5e-7: (100, 131.33, 0.92)}
#: Table 4: method to change of the accuracy; Le Merrer et al.'s is of MNIST
TABLE_4 = {"Adi et al.": "~0.3", "Uchida et al.": "~0.3", "Rouhani et al.": "~0.5", "Le Merrer et al.": "~0.2",
           "DeepAuth": "< 0.1"}  # fmt: skip
#: the sentences that state settings; formulas as plain text
SENTENCES = """
start collecting the newly perturbed adversarial examples as key samples, only after 90% of seed inputs in a
batch had already achieved misclassification.

We use ε_l = 0.0005 in our experiments.

We use 0.0005, 0.002, 0.02 for MNIST, CIFAR10, and ImageNet, respectively.

We leverage LeNet5 for MNIST, VGG16 for CIFAR10, and ResNet50 for ImageNet.

Table 1 summarizes the performance with different learning rates of the embedding process, including success
rate (Succ) and prediction changes. We perform the proposed methodology to generate 1024 uniquely protected
models. We select 10 key samples for each signature embedding.

The results are shown in Figure 5, where the learning rate is 1e-4.

The retraining process is performed on the original training data.

We simulate 1,000 trials
"""
