"""One set of weights, several samplers: what each measures, and whether that speaks of the model."""
