"""FER-2013 faces in the layout of the Toronto Face Database: other images, other numbers.

FER-2013 (I. Goodfellow et al., "Challenges in representation learning", 2013) is not the Toronto
Face Database, so its likelihoods have a column of their own and are never set beside the published
ones.
"""

from replicate.datasets.tfd import Tfd


class Faces(Tfd):
    """The stand-in's file, cut and checked as the Toronto Face Database is."""

    name = "faces"
    title = "FER-2013 stand-in"
    file = "FER2013_in_TFD_format_48x48.mat"
    needs = "needs FER2013_in_TFD_format_48x48.mat (the user's own)"
    remedy = (
        "bring FER-2013, whose own terms hold, into the layout of TFD_48x48.mat "
        "(docs/adding-a-dataset.md) and copy or link the file to this path"
    )


DATASET = Faces()
