"""The sweep: streams of randomness, the training loop, checkpoints."""
