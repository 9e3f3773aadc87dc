"""The controls by name, apart from how they are drawn: a page can name them without torch."""

from typing import NamedTuple

_OURS = "ours"
_THEIS = "Theis, van den Oord and Bethge 2016"


class Control(NamedTuple):
    """What is known of a control before it is drawn.

    Attributes:
        title: for tables.
        flaw: what is wrong with it; empty of the true distribution.
        source: where it comes from.
    """

    title: str
    flaw: str
    source: str


#: name -> control.
CONTROLS: dict[str, Control] = {
    "held_out": Control("Held-out true images", "", "a random half of the validation images"),
    "k_means": Control("k-means centroids", "means of images, not images", _THEIS),
    "copies": Control("Copies of training images", "nothing new", _OURS),
    "noisy_copies": Control("Copies with small noise", "nothing new, and noise", _OURS),
    "noise_mixture": Control("99 % noise", "99 of 100 images are noise", _THEIS),
    "one_class": Control("One class only", "all other classes are missing", _OURS),
    "shuffled_pixels": Control("Shuffled pixels", "no image looks like one", _OURS),
}
#: The control that no other one should surpass.
TRUTH = "held_out"
