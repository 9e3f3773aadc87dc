"""Training: random streams, optimizers, the training loop and its checkpoints."""
