"""Constants that an experiment and its figures share, apart from both so that drawing needs no code
of an experiment: no torch, and no new drawing when only the experiment's code changes.
"""

# Collapse (H1-images).
#: Updates of G per update of D.
COLLAPSE_RATIOS = (1, 5, 20, 100)
#: Share of the samples that a class needs to count as covered.
COVERED_SHARE = 0.01

# Degenerate (S2).
#: Centre of the first half circle, which has radius 1 and is open below. The second half circle is
#: the first turned by 180 degrees about 0.
HALF_CIRCLE_CENTRE = (-0.5, -0.25)
#: Samples that are measured, one of each chain, and those in a picture.
CURVE_SAMPLES, CURVE_SAMPLES_DRAWN = 1000, 200
#: Equal arcs of the curves, and how near a sample must be to cover its arc.
ARCS, ARC_DISTANCE = 32, 0.1

# Estimator (E1).
#: Dimensions of the standard normal densities.
DIMENSIONS = (1, 2, 8, 32, 128, 784)
#: A density near a subspace, as images are near a manifold: of 784 dimensions 8 have standard
#: deviation 1, all others this one.
WIDE_DIMENSIONS, THICKNESS = 8, 0.1
THIN = f"{WIDE_DIMENSIONS} in 784"

# Figure 1 (F1).
#: What the four panels show.
STAGES = {
    "a": "(a) early in the game",
    "b": "(b) D at its optimum",
    "c": "(c) G moved by D's gradient",
    "d": "(d) the end",
}

# In-painting (X3).
#: What is known of the image, in the order of the figure.
MASKS = ("random", "left", "right", "top", "bottom")
#: Test images whose completions the result keeps for the first seed, and how many of each.
IMAGES_DRAWN, COMPLETIONS_DRAWN = 3, 2

# Noise-contrastive estimation (M1).
#: Ways to learn, with their names in lines and in the figure.
WAYS = {"fixed": "fixed noise", "renewed": "renewed noise", "game": "adversarial game"}

# Synchrony (A1, H1).
#: Updates of G per update of D, and the ratios that have a picture.
RATIOS, RATIOS_DRAWN = (1, 2, 5, 20, 100), (1, 5, 100)
#: Samples that are measured, values of z whose outputs are counted, and samples in a picture.
MODE_SAMPLES, OUTPUTS, MODE_SAMPLES_DRAWN = 2500, 10_000, 250
