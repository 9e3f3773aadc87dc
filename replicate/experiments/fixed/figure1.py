"""The stages of `replicate.experiments.figure1`."""

#: What the four panels show.
STAGES = {
    "a": "(a) early in the game",
    "b": "(b) D at its optimum",
    "c": "(c) G moved by D's gradient",
    "d": "(d) the end",
}
