"""What `replicate.experiments.collapse` compares and counts."""

#: Updates of G per update of D.
RATIOS = (1, 5, 20, 100)
#: Share of the samples that a class needs to count as covered.
COVERED = 0.01
