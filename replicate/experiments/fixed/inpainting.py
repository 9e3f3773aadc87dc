"""The masks of `replicate.experiments.inpainting`, and what it keeps for its pictures."""

#: What is known of the image, in the order of the figure.
KINDS = ("random", "left", "right", "top", "bottom")
#: Test images whose completions the result keeps of the first seed, and how many of each.
KEPT, KEPT_COMPLETIONS = 3, 2
