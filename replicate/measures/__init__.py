"""The registry of measures: what says how good samples are, and what each of them is worth.

One file a measure. Titles and units are here, apart from the functions, so that a page can name
them without torch; `replicate.measures.run_measures` runs the functions.
"""

from typing import Literal, NamedTuple

#: The side on which better samples lie; `half`: the nearer to one half, the better.
Better = Literal["higher", "lower", "half"]
#: Where images are compared: in pixels, or in the last hidden layer of the data set's classifier.
Space = Literal["pixels", "features"]
#: What a measure reads: the images of a comparison in each space, samples with the data set, or a
#: model of a kind that the samples come from.
Needs = Literal["comparison", "samples", "classifier", "generator", "decoder", "boltzmann"]


class Measure(NamedTuple):
    """What is known of a measure before it is computed.

    Attributes:
        title: for tables.
        unit: of its values; empty where they are pure numbers.
        better: which values are better.
        needs: what it reads.
        source: where it is defined.
        ranked: whether it says of every row how near its samples are to the data, so that rows can
            be ranked by it.
    """

    title: str
    unit: str
    better: Better
    needs: Needs
    source: str
    ranked: bool = True


_KYNKAANNIEMI = "Kynkäänniemi et al. 2019, equations 1 and 2"
_NAEEM = "Naeem et al. 2020"
_LOPEZ_PAZ = "Lopez-Paz and Oquab 2017"

#: name -> measure. Its function `measure` is in the file of that name, but for `parzen`: that file
#: is `parzen_measure.py`, because `likelihood/parzen.py` is the estimator that both it and Table 1
#: call.
REGISTRY: dict[str, Measure] = {
    "parzen": Measure(
        "Parzen estimate", "nats", "higher", "samples", "Goodfellow et al. 2014, section 5"
    ),
    "parzen_many": Measure(
        "Parzen estimate, many samples",
        "nats",
        "higher",
        "generator",
        "Theis, van den Oord and Bethge 2016",
        ranked=False,
    ),
    "annealed_likelihood": Measure(
        "Log-likelihood by annealed importance sampling",
        "nats",
        "higher",
        "decoder",
        "Wu, Burda, Salakhutdinov and Grosse 2017",
        ranked=False,
    ),
    "boltzmann_likelihood": Measure(
        "Log-likelihood of bits",
        "nats of bits",
        "higher",
        "boltzmann",
        "Salakhutdinov and Murray 2008; Salakhutdinov and Hinton 2009",
        ranked=False,
    ),
    "precision": Measure("Precision", "share", "higher", "comparison", _KYNKAANNIEMI),
    "recall": Measure("Recall", "share", "higher", "comparison", _KYNKAANNIEMI),
    "density": Measure("Density", "", "higher", "comparison", _NAEEM),
    "coverage": Measure("Coverage", "share", "higher", "comparison", _NAEEM),
    "frechet_distance": Measure(
        "Fréchet distance", "", "lower", "comparison", "Heusel et al. 2017, equation 6"
    ),
    "kernel_distance": Measure(
        "Kernel distance",
        "",
        "lower",
        "comparison",
        "Gretton et al. 2012, lemma 6; Bińkowski et al. 2018",
    ),
    "nearest_neighbour_test": Measure(
        "Nearest-neighbour test", "share", "half", "comparison", _LOPEZ_PAZ
    ),
    "classifier_test": Measure("Classifier test", "share", "half", "comparison", _LOPEZ_PAZ),
    "memorisation": Measure(
        "Memorisation", "share", "lower", "samples", "caption of figure 2; ours", ranked=False
    ),
    "class_shares": Measure("Rarest class", "share", "higher", "classifier", "ours", ranked=False),
}


def goodness(name: str, value: float) -> float:
    """A value as a number that is higher where samples are better."""
    better = REGISTRY[name].better
    if better == "higher":
        return value
    if better == "lower":
        return -value
    # Copies of true images lie below one half: both sides are equally wrong.
    return -abs(value - 0.5)
