"""The densities of `replicate.experiments.estimator`."""

#: Dimensions of the standard normal densities.
DIMENSIONS = (1, 2, 8, 32, 128, 784)
#: A density near a subspace, as images are near a manifold: of 784 dimensions 8 have standard deviation 1, all others
#: this.
WIDE, THICKNESS = 8, 0.1
THIN = f"{WIDE} in 784"
