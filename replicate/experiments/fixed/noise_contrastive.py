"""The ways of `replicate.experiments.noise_contrastive`."""

#: Ways to learn, with their names in lines and in the figure.
WAYS = {"fixed": "fixed noise", "renewed": "renewed noise", "game": "adversarial game"}
