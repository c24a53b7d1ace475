"""Encoders and what is trained on them: ResNets, features, SimCLR, probes and downstream heads."""
