"""The data of `replicate.experiments.degenerate`, and how samples are judged and shown."""

#: Of the first half circle, of radius 1 and open below; the second is the first turned by 180 degrees about 0.
CENTRE = (-0.5, -0.25)
#: Samples that are judged, one of each chain, and those in a picture.
SAMPLES, SHOWN = 1000, 200
#: Equal arcs of the curves; one is covered by a sample no farther from it than that.
ARCS, NEAR = 32, 0.1
