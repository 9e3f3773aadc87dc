"""How the games of `replicate.experiments.synchrony` are judged and shown."""

#: Updates of G per update of D (H1), and those of them with a picture.
RATIOS, PICTURED = (1, 2, 5, 20, 100), (1, 5, 100)
#: Samples that are judged, values of z whose outputs are counted, and samples in the picture of a ratio.
SAMPLES, OUTPUTS, SHOWN = 2500, 10_000, 250
