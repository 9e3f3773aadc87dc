"""The content of every result file, as types: each field with its type, unit and shape.

Result files are canonical JSON: sorted keys and no NaN, so that the same values give the same
bytes. Log-likelihoods are in nats, digests are SHA-256 in hexadecimal, and shapes stand in
brackets: `[seed][draw]` is a list with an entry for each seed, which is a list with an entry for
each draw. Files that were kept from earlier versions may lack fields that later ones added.

The stages build these types, and `replicate.records.frame.read_result` holds a file to its type
before anything relies on it. `tools/result_files.py` writes docs/result-files.md from this module.
Types compute nothing, so the module is no part of a code digest (`replicate.jobs.code_digest`).
"""

from typing import Any, Literal, NotRequired

# pydantic validates TypedDicts of `typing` only from Python 3.12 on
from typing_extensions import TypedDict

#: Verdict on a statement, or on a number or an order of Table 1 (docs/protocol.md).
VerdictState = Literal[
    "replicated",
    "exceeds",
    "not inferior",
    "not replicated",
    "inconclusive",
    "withheld",
    "not applicable",
    "no published value",
    "not attempted",
]
#: What became of a verdict between two runs.
Change = Literal[
    "changed", "only here", "only there", "same verdict", "same numbers", "attempted by neither"
]
#: Lower and upper end.
Interval = list[float]
#: Option -> value: settings of a model, a data set or an experiment, each checked by its own type.
Options = dict[str, Any]


# Beside every stage's own fields: by these a result says on its own what made it, and a reader can
# refuse it before it looks at any number.
class Frame(TypedDict):
    """The fields that every result file has, beside its own `stage` and `parameters`."""

    schema: int
    """Version of this frame: 1."""
    code: str
    """Digest of the syntax trees of the modules that computed the values, 16 digits."""
    parameters_sha256: str
    """Digest of `parameters` as canonical JSON."""
    inputs: dict[str, str]
    """Name of an input file -> its digest."""


class NoParameters(TypedDict):
    """Of a stage that has no parameters."""


class ComputeParameters(TypedDict):
    """Section `compute` of the parameters (`replicate.params.Compute`)."""

    device: str
    """`auto`, `cpu` or `cuda`."""
    threads: int
    """CPU threads of the job."""
    # Earlier versions trained in float32 alone, and wrote no precision.
    precision: NotRequired[str]
    """Of the factors of matrix products in training: `float32` or `bfloat16`."""


class OnDevice(TypedDict):
    """Parameters of a stage that depends on the device alone."""

    compute: ComputeParameters
    """Device and threads."""


class Failure(TypedDict):
    """When and why a seed failed."""

    epoch: int
    """Epoch in which it failed."""
    reason: str
    """What was not finite, in words."""


class Rounding(TypedDict):
    """What the rounding of exported weights does to images."""

    to: str
    """Number format that the weights were rounded to."""
    largest_difference: float
    """Largest difference of a pixel from that of the unrounded weights."""
    images: int
    """Images that were compared."""


class SamplerSettings(TypedDict):
    """How images are drawn by Markov chains (`replicate.models.parts.samplers.Sampler`)."""

    chains: int
    """Chains side by side; image i is of chain i modulo their number."""
    burn_in: int
    """Steps of every chain before its first image."""
    thinning: int
    """Steps between two images of a chain."""
    start: str
    """`own`, at what the model itself holds, or `images`, at training images."""
    pixels: str
    """`means` of p(x | hidden), or `bits` drawn from them."""


# Notes and not fields of every result: a key that most files would hold as null says less than one
# that is there where it matters.
class ExportNote(TypedDict):
    """Of what may come from exported weights."""

    rounded: NotRequired[Rounding]
    """What rounding did; only of weights that the stage `export` wrote."""


class ChainNote(TypedDict):
    """Of samples that may come from Markov chains."""

    sampler: NotRequired[SamplerSettings]
    """How the chains ran; only where there are chains."""


# ------------------------------------------------------------------------------------- data sets


class SourceFile(TypedDict):
    """A raw file, or a user's own folder of images."""

    name: str
    """Name, without a path."""
    size: int
    """Bytes."""
    sha256: str
    """Digest of the content; of a folder that of its files' names and digests."""
    # A raw file is one file; only a folder or an archive has a number of them.
    files: NotRequired[int]
    """Images of a folder or an archive."""


class Manifest(Frame):
    """`data/DATASET.sources.json`, stage `fetch`: the verified raw files of a data set."""

    stage: Literal["fetch"]
    """Stage that wrote the file."""
    parameters: NoParameters
    """None."""
    dataset: str
    """Data set."""
    sources: list[SourceFile]
    """Raw files, or the user's own."""


class FoldCounts(TypedDict):
    """Labelled images of one fold."""

    train: int
    """Training images."""
    valid: int
    """Validation images."""
    test: int
    """Test images."""


class FoldsNote(TypedDict):
    """Of a data set that may have folds."""

    folds: NotRequired[list[FoldCounts]]
    """Labelled images of each fold; only where the set has folds."""


class PrepareParameters(TypedDict):
    """Parameters of the stage `prepare`."""

    datasets: dict[str, Options]
    """The data set -> its options, without where the data lie."""


class DataDescription(Frame, FoldsNote):
    """`data/DATASET.json`, stage `prepare`: a data set as it was cut.

    Beside it `DATASET.safetensors`: `train`, `valid` and `test`, (n, c, h, w) uint8 or float32,
    and where the set has labels `train_labels`, `valid_labels` and `test_labels`, int64. With folds
    there are `train` and `labelled` instead, and `fold0_train`, `fold0_valid`, `fold0_test`, ...:
    rows of `labelled`. Its metadata: `divisor`, `low` and `high` (pixel = stored / divisor),
    `whole_validation` where all validation images choose the bandwidth, and `display`: how panels
    bring values back to pixels.
    """

    stage: Literal["prepare"]
    """Stage that wrote the file."""
    parameters: PrepareParameters
    """Options of the data set."""
    dataset: str
    """Data set."""
    title: str
    """Its title."""
    counts: dict[str, int]
    """Split -> images; where the set has folds, of the pools `train` and `labelled`."""
    shape: list[int]
    """Channels, height and width."""
    value_range: list[float]
    """Smallest and largest value that a pixel may have."""
    sources: list[SourceFile]
    """Raw files."""
    sha256: str
    """Digest of the prepared tensors."""


# --------------------------------------------------------------------------------------- training


class SelectionParameters(TypedDict):
    """Section `selection` of the parameters: how the epoch is chosen."""

    every: int
    """Epochs between two looks at the validation images."""
    samples: int
    """Generated images of each look."""


# What decides the bits of a training, and nothing else: checkpoints are named by these
# (`replicate.stages.train`).
class TrainParameters(TypedDict):
    """Parameters of the stage `train`."""

    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    config: Options
    """Settings of the model (`Config` in `replicate.models`)."""
    compute: ComputeParameters
    """Device, threads and precision."""
    selection: SelectionParameters
    """How the epoch was chosen."""
    sigmas: list[float]
    """Bandwidths that every look tries, ascending."""
    validation_limit: int
    """Validation images of a look, at most."""


# Lists by look and then by seed, as the looks come: a run that is resumed appends to them.
class LearningCurve(TypedDict):
    """The looks at the validation images, and the losses of their epochs."""

    epoch: list[int]
    """Epochs of the looks, ascending: [look]."""
    log_likelihood: list[list[float | None]]
    """Mean over validation images, nats: [look][seed]; null after a failure and with folds."""
    sigma: list[list[float | None]]
    """Bandwidth with that mean: [look][seed]."""
    losses: dict[str, list[list[float | None]]]
    """Loss -> its mean over the steps of the epoch: [look][seed]."""


class Training(Frame):
    """`train/DATASET/MODEL/BLOCK.json`, stage `train`: the training of a block of seeds.

    Beside it `BLOCK.safetensors`: the weights of the chosen epochs.
    """

    stage: Literal["train"]
    """Stage that wrote the file."""
    parameters: TrainParameters
    """Parameters of the job, defaults filled in."""
    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    seeds: list[int]
    """The same one by one: [seed]."""
    shape: list[int]
    """Channels, height and width of an image."""
    epochs: int
    """Epochs of the recipe."""
    latent: bool
    """Whether the model has a latent space to walk through."""
    parameter_count: dict[str, int]
    """Network -> its parameters, of one seed."""
    curve: LearningCurve
    """Learning curve."""
    chosen_epoch: list[int | None]
    """Epoch whose weights are kept: [seed]; null where the seed failed before a look."""
    chosen_log_likelihood: list[float | None]
    """Mean over validation images in that epoch, nats: [seed]; null as in `curve`."""
    failed: dict[str, Failure]
    """Seed that failed -> when and why."""


class WeightsAbout(ExportNote):
    """`train/DATASET/MODEL/BLOCK.safetensors`, metadata `about`: what the weights are of."""

    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    seeds: list[int]
    """The same one by one: [seed]."""
    shape: list[int]
    """Channels, height and width of an image."""
    failed: dict[str, Failure]
    """Seed that failed -> when and why."""
    parameters: Options
    """Parameters of the training (`parameters` of its result)."""


class SamplesAbout(ExportNote, ChainNote):
    """`samples/DATASET/MODEL/BLOCK.safetensors`, metadata `about`: what the samples are of.

    Written by the stage `sample`. The tensor `samples` is (seeds, draws, n, c * h * w) float32, NaN
    of a failed seed.
    """

    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    seeds: list[int]
    """The same one by one: [seed]."""
    # Samples of earlier versions name neither the shape nor the parameters of their training.
    shape: NotRequired[list[int]]
    """Channels, height and width of an image."""
    failed: dict[str, Failure]
    """Seed that failed -> when and why."""
    parameters: NotRequired[Options]
    """Parameters of the training (`parameters` of its result)."""
    chains: int | None
    """Markov chains that the images come from; null where they are independent."""


class RoundParameters(TypedDict):
    """Parameters of the tool `round`."""

    seed: int
    """Seed of the weights."""


class RoundingDistance(Rounding):
    """How far images of weights in 8 bits are from the exact ones; a pixel is 0 (black) to 1."""

    mean_difference: float
    """Mean over the pixels of all images, without the sign."""
    root_mean_square: float
    """Root of the mean square over the same."""


class RoundedFile(TypedDict):
    """The file with the rounded weights."""

    name: str
    """Its name, in the same folder."""
    size: int
    """Bytes."""
    sha256: str
    """Digest."""


class RoundedGenerator(Frame):
    """`reference/RUN/MODEL/BLOCK/rounded.json`: the generator of the play page.

    Written by `python -m replicate round`, with the weights beside it: of layer 0, the one above z,
    the tensors `rounded.0.steps` (inputs, outputs) int8, `rounded.0.scale` and `rounded.0.bias`
    (outputs) float32; a weight is its step times the scale of its output. Nothing is estimated from
    them.
    """

    stage: Literal["round"]
    """Tool that wrote the file."""
    parameters: RoundParameters
    """The seed."""
    dataset: str
    """Data set of the training."""
    model: str
    """Model."""
    seed: int
    """Seed of the training."""
    shape: list[int]
    """Channels, height and width of an image."""
    epochs: int
    """Epochs of the training."""
    chosen_epoch: int
    """Epoch that the weights are of."""
    commit: str | None
    """Commit of the training; null where its record names none."""
    command: str
    """Command that wrote the file."""
    rounded: RoundingDistance
    """How far its images are from those of the weights that were given."""
    file: RoundedFile
    """The weights."""


# ------------------------------------------------------------------------------------- likelihood


class BandwidthParameters(TypedDict):
    """Parameters of the stage `bandwidth`."""

    sigmas: list[float]
    """Bandwidths that are tried, ascending."""
    validation_limit: int
    """Validation images that choose, at most."""
    compute: ComputeParameters
    """Device and threads."""


class BandwidthChoice(Frame, ExportNote):
    """`bandwidth/DATASET/MODEL/BLOCK.json`, stage `bandwidth`: the Parzen windows' widths.

    Lists by seed hold null for a seed that failed. A data set without folds has one fold.
    """

    stage: Literal["bandwidth"]
    """Stage that wrote the file."""
    parameters: BandwidthParameters
    """Parameters of the job, defaults filled in."""
    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    seeds: list[int]
    """The same one by one: [seed]."""
    sigmas: list[float]
    """Bandwidths that were tried, ascending: [sigma]."""
    n_validation: list[int]
    """Validation images that chose: [fold]."""
    validation_available: list[int]
    """Validation images that there are: [fold]."""
    curve: list[list[list[list[float]]] | None]
    """Mean over validation images, nats: [seed][draw][fold][sigma]."""
    chosen: list[list[list[float]] | None]
    """Bandwidth with the highest mean, the smaller one of a tie: [seed][draw][fold]."""
    at_edge: list[list[list[bool]] | None]
    """Whether that is the first or the last of `sigmas`: [seed][draw][fold]."""
    fine: list[list[list[float]] | None]
    """The best of a grid ten times finer around the chosen one: [seed][draw][fold]."""
    fine_log_likelihood: list[list[list[float]] | None]
    """Its mean over validation images, nats: [seed][draw][fold]."""


class FoldEvaluation(TypedDict):
    """One draw of samples on one fold's test images."""

    log_likelihood: float
    """Mean over test images, nats."""
    standard_error: float
    """Of that mean, over test images (ddof 0), nats."""
    sigma: float
    """Bandwidth."""
    at_edge: bool
    """Whether it is the smallest or the largest that was tried."""
    fine_sigma: float
    """Bandwidth of the fine grid."""
    fine_log_likelihood: float
    """Mean over test images with it, nats."""
    n_test: int
    """Test images."""


class DrawEvaluation(TypedDict):
    """One draw of samples of one seed."""

    log_likelihood: float
    """Mean over folds, nats."""
    standard_error: float
    """Mean over folds of the standard errors over test images, nats."""
    standard_error_folds: float | None
    """Standard error over folds (ddof 1), nats; null without folds."""
    effective_samples: float | None
    """Independent images that the draw is worth; null where chains are too short to say."""
    autocorrelation: list[float] | None
    """Of the slowest projection at the lags 1, 2, ... images of a chain; null without chains."""
    folds: list[FoldEvaluation]
    """Each fold: [fold]."""


class SeedEvaluation(TypedDict):
    """One seed."""

    seed: int
    """Seed."""
    failed: Failure | None
    """When and why it failed, or null."""
    log_likelihood: float | None
    """Mean over draws, nats; null of a failed seed."""
    draws: list[DrawEvaluation]
    """Each draw: [draw]; none of a failed seed."""


class Evaluation(Frame, ExportNote, ChainNote):
    """`evaluation/DATASET/MODEL/BLOCK.json`, stage `evaluate`: test log-likelihoods.

    Beside it `BLOCK.safetensors`: `fold0`, `fold1`, ..., (seeds, draws, test images) float64, the
    log-likelihood of every test image in nats, NaN of a failed seed.
    """

    stage: Literal["evaluate"]
    """Stage that wrote the file."""
    parameters: OnDevice
    """Parameters of the job, defaults filled in."""
    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    seeds: list[int]
    """The same one by one: [seed]."""
    per_seed: list[SeedEvaluation]
    """Each seed: [seed]."""
    n_test: list[int]
    """Test images: [fold]."""
    n_samples: int
    """Samples of a draw."""
    chains: int | None
    """Markov chains that they come from; null where they are independent."""
    sigmas: list[float]
    """Bandwidths that were tried, ascending."""
    n_validation: list[int]
    """Validation images that chose: [fold]."""
    validation_available: list[int]
    """Validation images that there are: [fold]."""
    dimension: int
    """Values of an image."""


class ScoreParameters(TypedDict):
    """Parameters of the command `score`."""

    sigmas: list[float]
    """Bandwidths that are tried, ascending."""
    validation_limit: int
    """Validation images that choose, at most."""
    compute: ComputeParameters
    """Device and threads."""
    fixes: list[str]
    """Fixes of the samples that were asked for, in their order."""


# A measure that says nothing keeps its entry, with the reason.
class Measured(TypedDict):
    """What a measure says of samples (`replicate.measures.REGISTRY`)."""

    measure: str
    """Name of the measure."""
    space: Literal["pixels", "features"] | None
    """Where it compares images; null where it does in no such space."""
    value: float | None
    """Value in the measure's unit; null where it says nothing."""
    interval: Interval | None
    """95 % interval over images, by the bootstrap; null without a value."""
    images: int
    """Images of which it is a mean, or which it compares."""
    details: dict[str, float]
    """Numbers beside it, by name, such as the bandwidth or the gap of two bounds."""
    reason: str | None
    """Why it says nothing, or null."""


class ScoredSamples(TypedDict):
    """A file of samples that the project did not make."""

    name: str
    """Name of the file or folder."""
    kind: str
    """What kind of file it is."""
    stored_shape: list[int]
    """Shape of the stored array."""
    stored_type: str
    """Its type, as numpy calls it."""
    shape: list[int]
    """Channels, height and width of an image."""
    count: int
    """Samples."""
    lowest: float
    """Lowest pixel as scored."""
    highest: float
    """Highest pixel as scored."""


class ScoredFold(FoldEvaluation):
    """The samples on one fold."""

    curve: list[float]
    """Mean validation log-likelihood, nats: [sigma]."""
    n_validation: int
    """Validation images that chose."""


class ScoreTrap(TypedDict):
    """A reason to distrust the estimate."""

    name: str
    """Kind of trap (docs/scoring.md)."""
    sentence: str
    """What was seen in the samples, and what to do."""
    fix: list[str]
    """Fixes that `--fix` has for it; empty where there are none."""


class ScoreNeighbour(TypedDict):
    """A value that may stand beside the estimate."""

    title: str
    """Model, or row without training."""
    kind: Literal["published", "measured"]
    """Whether Table 1 has it, or a kept run measured it."""
    log_likelihood: float
    """Mean test log-likelihood, nats."""
    standard_error: float
    """Its standard error, nats: over folds where there are some, else over test images."""
    samples: int
    """Samples that it is of."""
    source: str
    """Paper, or file of the kept run."""


class Score(Frame):
    """What the command `score --json` writes: anyone's samples, scored."""

    stage: Literal["score"]
    """Command that wrote the file."""
    parameters: ScoreParameters
    """Parameters, defaults filled in."""
    dataset: str | None
    """Data set; null for images of one's own."""
    title: str
    """What the samples were compared with."""
    samples: ScoredSamples
    """The file of samples."""
    sigmas: list[float]
    """Bandwidths that were tried, ascending."""
    log_likelihood: float
    """Mean over test images, then over folds, nats."""
    standard_error: float
    """Over test images (ddof 0), mean over folds, nats."""
    standard_error_folds: float | None
    """Over folds (ddof 1), nats; null where there is one."""
    interval: Interval
    """95 %, by the error over folds where there are some, else over test images, nats."""
    fine_log_likelihood: float
    """Mean with the bandwidths of the fine grid, nats."""
    folds: list[ScoredFold]
    """Each fold: [fold]. A data set without folds has one."""
    notes: list[str]
    """What was done to read the files, in sentences."""
    traps: list[ScoreTrap]
    """Reasons to distrust the estimate, the gravest first."""
    neighbours: list[ScoreNeighbour]
    """Values that may stand beside it, ascending."""
    standing: str | None
    """Where the estimate lies among them, in words; null where there are none."""
    measures: list[Measured]
    """Other measures of the same samples that have a value; empty without `--measures`."""


# A part of an evaluation is no result: it is added up with others, and never read by itself.
class EvaluationPart(Frame):
    """`PART.safetensors`, metadata `about`: a part of an evaluation.

    Written by `evaluate --shard K/N`, by hand alone. For the seed at index I of the block, draw J
    and fold F the tensors are `I.J.F.relative`, (2, test images), and `I.J.F.distance`, (test
    images), in float64, and `I.J.F.peak`, (test images), in the images' type (`KernelSums` in
    `replicate.likelihood.parzen`).
    Failed seeds are left out, and a part without samples has no tensors. The metadata `sha256`
    covers all of it.
    """

    stage: Literal["evaluate"]
    """Stage that wrote the file."""
    parameters: OnDevice
    """Parameters of the job, defaults filled in."""
    shard: int
    """Which part it is, from 1."""
    shards: int
    """Parts of the evaluation."""
    count: int
    """Samples in the part."""
    dimension: int | None
    """Values of an image; null without samples."""
    sigmas: dict[str, list[float]]
    """`I.J.F` -> the chosen bandwidth and that of the fine grid."""


class SamplersParameters(TypedDict):
    """Parameters of the stage `samplers`."""

    compared: Options
    """Names of the samplers, and draws (`replicate.models.parts.samplers.Compared`)."""
    compute: ComputeParameters
    """Device and threads."""
    likelihood: Options
    """Section `likelihood` of the parameters, without its draws."""


class SamplerDraw(TypedDict):
    """One draw of samples by one sampler."""

    log_likelihood: float
    """Mean over test images and folds, nats."""
    effective_samples: float | None
    """Independent images that the draw is worth; null where chains are too short to say."""
    remembered_start: float
    """Correlation of the last images with their chains' starts beyond that with other starts."""
    memorisation: float
    """Excess of samples whose nearest image is a training image: 0 by chance, 1 copies."""


class SamplerRuns(TypedDict):
    """One sampler."""

    settings: SamplerSettings
    """How its chains ran."""
    per_seed: list[list[SamplerDraw] | None]
    """Each draw: [seed][draw]; null for a failed seed."""


class SamplerComparison(Frame):
    """`samplers/DATASET/MODEL/BLOCK.json`, stage `samplers`: samplers compared."""

    stage: Literal["samplers"]
    """Stage that wrote the file."""
    parameters: SamplersParameters
    """Parameters of the job, defaults filled in."""
    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    seeds: list[int]
    """The same one by one: [seed]."""
    failed: dict[str, Failure]
    """Seed that failed -> when and why."""
    samplers: dict[str, SamplerRuns]
    """Sampler -> what its draws measured."""
    independent_pixels: float
    """Log-likelihood of images whose pixels are drawn independently of each other, nats."""


# ------------------------------------------------------------------------------------- inspection


class ClassifierResult(Frame):
    """`classifier/DATASET.json`, stage `classifier`: the classifier that recognises samples.

    Beside it `DATASET.safetensors`: its weights, none where there is no classifier.
    """

    stage: Literal["classifier"]
    """Stage that wrote the file."""
    parameters: OnDevice
    """Parameters of the job, defaults filled in."""
    shape: list[int]
    """Channels, height and width of an image."""
    reason: str | None
    """Why there is no classifier, or null."""
    classes: int
    """Classes of the labels; 0 without a classifier."""
    accuracy: float | None
    """Share of test images that it names right."""
    n_test: int
    """Test images."""
    sure: float | None
    """Share of test images whose class has a probability of at least `sure_from`."""


class SeedRecognition(TypedDict):
    """What the samples of one seed show; null where the seed failed."""

    seed: int
    """Seed."""
    failed: Failure | None
    """When and why it failed, or null."""
    sure: float | None
    """Share of samples whose class is sure; null also without a classifier."""
    classes: list[float] | None
    """Share of samples of each class: [class]; null also without a classifier."""
    # Kept results of the first versions know the shares of classes alone.
    rarest: NotRequired[float | None]
    """The smallest of these shares; null also without a classifier."""
    memorisation: NotRequired[float | None]
    """Excess of samples whose nearest image is a training image: 0 by chance, 1 copies."""
    correlation: NotRequired[float | None]
    """Of a sample with the next one, of the same chain where there are chains."""


class Recognition(Frame):
    """`recognition/DATASET/MODEL/BLOCK.json`, stage `recognise`: what samples show."""

    stage: Literal["recognise"]
    """Stage that wrote the file."""
    parameters: OnDevice
    """Parameters of the job, defaults filled in."""
    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    seeds: list[int]
    """The same one by one: [seed]."""
    # As for the fields of a seed: the first versions compared no image.
    compared: NotRequired[int]
    """Samples of a seed whose nearest image was looked for."""
    sure_from: float
    """Probability from which a class is sure."""
    reason: str | None
    """Why there is no classifier, or null."""
    accuracy: float | None
    """Share of test images that the classifier names right."""
    per_seed: list[SeedRecognition]
    """Each seed: [seed]."""


class InterpolationGrid(TypedDict):
    """The picture of walks through the latent space."""

    rows: int
    """Walks, one a row."""
    steps: int
    """Images of a walk, both ends included."""


class Panels(Frame):
    """`panels/DATASET/MODEL/BLOCK/panels.json`, stage `panels`: what the pictures show."""

    stage: Literal["panels"]
    """Stage that wrote the file."""
    parameters: NoParameters
    """None."""
    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    seed: int | None
    """Seed that is drawn, the first that did not fail; null where all failed."""
    rows: int
    """Rows of samples."""
    columns: int
    """Random draws in a row."""
    nearest: list[int] | None
    """Row of the training image that is nearest to the last draw: [row]; null as `seed`."""
    distance: list[float] | None
    """L2 distance of both: [row]; null as `seed`."""
    interpolation: InterpolationGrid | None
    """Walks through the latent space; null where there is none to walk through."""


class MeasuresParameters(TypedDict):
    """Parameters of the stages `measures` and `controls`."""

    compute: ComputeParameters
    """Device and threads."""
    likelihood: Options
    """Section `likelihood` of the parameters, without its draws."""
    measures: Options
    """Section `measures` of the parameters (`replicate.params.MeasureSettings`)."""


class SeedMeasures(TypedDict):
    """What the measures say of one seed."""

    seed: int
    """Seed."""
    failed: Failure | None
    """When and why it failed, or null."""
    measures: list[Measured]
    """Every measure, in the same order for all seeds; none of a failed seed."""


class MeasuresOfBlock(Frame, ExportNote, ChainNote):
    """`measures/DATASET/MODEL/BLOCK.json`, stage `measures`: every measure of a block's samples.

    Those that need samples read the first draw.
    """

    stage: Literal["measures"]
    """Stage that wrote the file."""
    parameters: MeasuresParameters
    """Parameters of the job, defaults filled in."""
    dataset: str
    """Data set."""
    model: str
    """Model."""
    block: str
    """Seeds of the job, such as `0-2`."""
    seeds: list[int]
    """The same one by one: [seed]."""
    n_samples: int
    """Samples of a draw."""
    sampler_name: str | None
    """Name of the sampler in the model's settings; null where images are independent."""
    per_seed: list[SeedMeasures]
    """Each seed: [seed]."""


class ControlMeasures(TypedDict):
    """What the measures say of one control."""

    control: str
    """Name of the control."""
    title: str
    """Its title."""
    flaw: str
    """What is wrong with its samples; empty of true images."""
    n_samples: int
    """Samples."""
    measures: list[Measured]
    """Every measure that needs samples alone, in the same order for all controls."""
    above_truth: list[str]
    """Measures that put it above held-out true images, intervals apart: such as
    `precision/pixels`.
    """


class ControlResult(Frame):
    """`controls/DATASET.json`, stage `controls`: samples whose quality is known."""

    stage: Literal["controls"]
    """Stage that wrote the file."""
    parameters: MeasuresParameters
    """Parameters of the job, defaults filled in."""
    dataset: str
    """Data set."""
    controls: list[ControlMeasures]
    """Each control the data set can have, held-out true images first."""


class RankedValue(TypedDict):
    """What one measure says of one row."""

    value: float
    """Mean over seeds."""
    interval: Interval | None
    """95 % interval: over seeds and images; of a control over images alone."""
    seeds: int
    """Seeds; 1 of a control."""
    rank: float | None
    """Mean rank among the models over resamples, 1 the best; null of what is not ranked."""
    rank_interval: Interval | None
    """95 % interval of the rank over resamples."""
    above_truth: bool
    """Whether it is a control that the measure puts above held-out true images."""
    gap: float | None
    """Mean over seeds of upper less lower bound on images that the model made; else null."""


class RankColumn(TypedDict):
    """A measure in one space."""

    measure: str
    """Name of the measure."""
    space: Literal["pixels", "features"] | None
    """Where it compares images; null where it does in no such space."""
    ranked: bool
    """Whether the models are ranked by it: it speaks of all samples, and has a value for each."""


class RankRow(TypedDict):
    """A row: a model, a reference row or a control."""

    name: str
    """Name of the model or of the control."""
    kind: Literal["model", "reference", "control"]
    """What it is."""
    values: list[RankedValue | None]
    """What each measure says: [column]; null where it says nothing."""


class Agreement(TypedDict):
    """How far the measures that rank order the models alike."""

    measures: int
    """Measures."""
    models: int
    """Models."""
    kendall_w: float | None
    """Kendall's W: 1, all orders the same; 0, none in common; null with too few to say."""
    interval: Interval | None
    """95 % interval over seeds and images."""
    tau_with_parzen: list[float | None]
    """Kendall's tau of each column's order with that of the Parzen estimate: [column]."""


class RanksOfDataset(TypedDict):
    """All rows of one data set."""

    dataset: str
    """Data set."""
    columns: list[RankColumn]
    """Measures, in the order of the registry."""
    rows: list[RankRow]
    """Models, then reference rows, then controls."""
    agreement: Agreement
    """How far the measures agree."""


class Ranks(Frame):
    """`ranks.json`, stage `ranks`: rows, measures and controls side by side."""

    stage: Literal["ranks"]
    """Stage that wrote the file."""
    parameters: NoParameters
    """None."""
    datasets: list[RanksOfDataset]
    """Each data set of the run."""


# ------------------------------------------------------------------------------------ experiments


class ExperimentParameters(TypedDict):
    """Parameters of the stage `experiment`."""

    config: Options
    """Settings of the experiment (`Config` in `replicate.experiments`)."""
    compute: ComputeParameters
    """Device, threads and precision."""


class ExperimentResult(Frame):
    """`experiments/NAME.json`, stage `experiment`: what an experiment measured."""

    stage: Literal["experiment"]
    """Stage that wrote the file."""
    parameters: ExperimentParameters
    """Parameters of the job, defaults filled in."""
    experiment: str
    """Experiment."""
    seeds: list[int]
    """Seeds; of a study of tuning the numbers of the trials: [seed]."""
    changed: list[str]
    """Settings that are not those of the experiment's full form."""
    not_applicable: str | None
    """Why the data set cannot answer, or null."""
    checks: dict[str, dict[str, float | list[float | None] | None]]
    """Statement -> check -> one exact number, null where all seeds failed that it is of; or
    [seed], null where a seed failed."""
    series: dict[str, Any]
    """What the figures show, in a form of each experiment's own; none if not applicable."""


class Figure(TypedDict):
    """A figure of an experiment."""

    name: str
    """Name of its file, without `.svg`."""
    caption: str
    """Caption."""


class FigureList(Frame):
    """`figures/NAME/figures.json`, stage `draw`: the figures beside it."""

    stage: Literal["draw"]
    """Stage that wrote the file."""
    parameters: NoParameters
    """None."""
    experiment: str
    """Experiment."""
    figures: list[Figure]
    """Figures, in the order of the page."""


# The rule that judged (side and threshold) stands beside the numbers: a kept verdict can be judged
# again without the protocol of its day.
class CheckVerdict(TypedDict):
    """One check of a statement; null where there is nothing to say."""

    reads: str
    """What the number is, in words."""
    exact: bool
    """Whether it is one number, and not one a seed."""
    side: Literal["above", "below"]
    """On which side of the threshold the number has to lie."""
    threshold: float
    """Threshold."""
    value: float | None
    """The number, or its mean over seeds."""
    per_seed: list[float | None] | None
    """Its values: [seed]; null where a seed failed, and of an exact check."""
    sd_over_seeds: float | None
    """Standard deviation over seeds (ddof 1)."""
    ci90: Interval | None
    """90 % interval of the mean."""
    ci95: Interval | None
    """95 % interval of the mean."""
    ci95_simultaneous: Interval | None
    """Interval of the mean that holds with 95 % for all checks of the statement together."""
    state: VerdictState | None
    """Verdict on the check."""
    seeds_needed: int | None
    """Fewest seeds that would decide, where the check is inconclusive."""


# One entry for each statement of the protocol, also for those that no experiment of the run
# decides: what was not attempted is shown, and not left out.
class StatementVerdict(TypedDict):
    """What the paper states in words, with its verdict."""

    statement: str
    """Name in protocol.yaml."""
    section: str
    """Section of the paper."""
    says: str
    """What the paper says."""
    kind: str
    """`statement`."""
    experiment: str | None
    """Experiment that decides it; null where none ran."""
    # Older files leave it out; for these the page reads the run's parameter file.
    dataset: NotRequired[str | None]
    """Data set of the experiment, if it has one."""
    result: str | None
    """Result file of the experiment."""
    changed: str | None
    """Settings that are not those of the experiment's full form, joined by commas."""
    seeds: int
    """Seeds that the protocol asks for."""
    # Since version 4 of the protocol, which first judges trials of tuning.
    over: NotRequired[str]
    """What the numbers are over: `seeds`, or `trials` of a tuning."""
    asks_for: NotRequired[str]
    """Which checks must hold: `all`, or `any` one of them."""
    seeds_needed: int | None
    """Fewest seeds that would decide, where the verdict is inconclusive."""
    checks: list[CheckVerdict]
    """Checks that decide the statement."""
    protocol_sha256: str | None
    """Digest of the statement's entry in protocol.yaml."""
    state: VerdictState
    """Verdict."""
    reason: str
    """Why, in words."""


class PresetParameters(TypedDict):
    """Parameters of the stage `statements`."""

    preset: str
    """Name of the run."""


class Statements(Frame):
    """`statements.json`, stage `statements`: what the paper states in words, with its verdicts."""

    stage: Literal["statements"]
    """Stage that wrote the file."""
    parameters: PresetParameters
    """Parameters of the job."""
    preset: str
    """Name of the run."""
    statements: list[StatementVerdict]
    """Statements, in the order of protocol.yaml."""
    # Kept results of the first versions have none.
    counts: NotRequired[dict[str, int]]
    """Verdict -> number of statements."""


# ---------------------------------------------------------------------------------------- Table 1


class PublishedValue(TypedDict):
    """A value of the paper's Table 1."""

    log_likelihood: float
    """Mean, nats."""
    standard_error: float
    """Standard error, nats."""
    uncertainty_over: str
    """What the standard error is over: `test images` or `folds`."""
    samples: int
    """Samples of the estimate."""
    source: str
    """Where it is published."""


class FailedSeed(TypedDict):
    """A seed that failed."""

    seed: int
    """Seed."""
    epoch: int
    """Epoch in which it failed."""
    reason: str
    """What was not finite, in words."""


class SeedMeans(TypedDict):
    """One seed that did not fail."""

    seed: int
    """Seed."""
    log_likelihood: float
    """Mean over draws, nats."""
    standard_error: float | None
    """Mean over draws of the standard errors over test images, nats."""
    standard_error_folds: float | None
    """Mean over draws of the standard errors over folds, nats; null without folds."""
    effective_samples: float | None
    """Of the worst draw; null where no draw says."""


class VarianceComponent(TypedDict):
    """One of three variances."""

    variance: float | None
    """Variance, square nats; null where it cannot be told."""
    sd: float | None
    """Its root, nats; null also where the estimate is negative."""


class Variances(TypedDict):
    """The variances of a log-likelihood apart."""

    seed: VarianceComponent
    """Between seeds."""
    draw: VarianceComponent
    """Between draws of samples."""
    test_images: VarianceComponent
    """Between test images, of the mean; where there are folds, of the mean of one fold."""


class TrainingEnd(TypedDict):
    """Whether training had ended (docs/protocol.md, section 8)."""

    rise: float | None
    """Rise of the mean validation curve over its end, nats; null where it has too few looks."""
    epochs: int
    """Epochs of the trainings: of blocks that differ, the fewest."""
    looks: int
    """Looks that all blocks have in common."""
    files: list[str]
    """Results of the stage `train`."""


class MeanWithInterval(TypedDict):
    """A measure of the seeds' means, or of the draws of a single seed of a sampler."""

    mean: float | None
    """Mean; null where no draw says."""
    interval: Interval | None
    """95 % interval of the mean; null with fewer than two values."""


class SeedLogLikelihood(TypedDict):
    """One seed by one sampler."""

    seed: int
    """Seed."""
    log_likelihood: float
    """Mean over draws, nats."""


class SamplerSummary(TypedDict):
    """One sampler over all seeds."""

    settings: SamplerSettings
    """How its chains ran."""
    draws: int
    """Draws of all seeds."""
    log_likelihood: MeanWithInterval
    """Mean over test images, nats."""
    effective_samples: MeanWithInterval
    """Independent images that a draw is worth."""
    remembered_start: MeanWithInterval
    """Correlation with the chains' starts beyond that with other starts."""
    memorisation: MeanWithInterval
    """Excess of samples whose nearest image is a training image."""
    per_seed: list[SeedLogLikelihood]
    """Each seed that did not fail."""


class SamplersOfRow(TypedDict):
    """The samplers of a row (docs/protocol.md, section 7)."""

    samplers: dict[str, SamplerSummary]
    """Sampler -> its summary."""
    independent_pixels: float
    """Log-likelihood of images whose pixels are drawn independently of each other, nats."""
    files: list[str]
    """Results of the stage `samplers`."""


# Numbers of all seeds together, and each seed's own beside them: verdicts, the page and the
# multiverse start from the latter.
class PooledSeeds(TypedDict):
    """What the seeds of one model measured on one data set; means are over those that did not fail.

    A mean is null where all seeds failed, an interval also with fewer than two values.
    """

    mean: float | None
    """Mean log-likelihood over seeds, nats."""
    sd_over_seeds: float | None
    """Standard deviation over seeds (ddof 1), nats."""
    standard_error_test: float | None
    """Mean of the seeds' standard errors over test images, nats; of one fold's where there are
    folds."""
    standard_error_folds: float | None
    """Mean of the seeds' standard errors over folds, nats; null without folds."""
    interval: Interval | None
    """95 % interval of the mean, nats."""
    interquartile_mean: float | None
    """Interquartile mean over seeds, nats."""
    interquartile_interval: Interval | None
    """Its 95 % bootstrap interval, nats."""
    variances: Variances
    """Variances of seeds, draws and test images."""
    effective_samples: float | None
    """Of the worst draw of the worst seed."""
    autocorrelation: list[float] | None
    """Of the first draw of the first seed, at the lags 1, 2, ...; null without chains."""
    at_edge: list[int]
    """Seeds with a bandwidth at the edge of the grid."""
    fine_mean: float | None
    """Mean log-likelihood with the bandwidths of the fine grid, nats."""
    seeds: list[int]
    """All seeds, ascending."""
    failed: list[FailedSeed]
    """Seeds that failed."""
    per_seed: list[SeedMeans]
    """Seeds that did not fail."""
    n_test: list[int]
    """Test images: [fold]."""
    n_samples: int
    """Samples of a draw."""
    n_validation: list[int]
    """Validation images that chose the bandwidth: [fold]."""
    validation_available: list[int]
    """Validation images that there are: [fold]."""
    dimension: int
    """Values of an image."""
    sigmas: list[float]
    """Bandwidths that were tried, ascending."""
    chains: int | None
    """Markov chains that the samples come from; null where they are independent."""
    # Kept results from before samplers were recorded know the number of chains alone.
    sampler: NotRequired[SamplerSettings | None]
    """How the chains ran; null without chains, and where samples do not say it."""
    files: list[str]
    """Results of the stage `evaluate`."""


class WholeRun(TypedDict):
    """A run of a row's recipe with half or twice the epochs (docs/protocol.md, section 8)."""

    epochs: int
    """Its epochs."""
    measured: PooledSeeds
    """What its seeds measured."""


class MeasuredCell(PooledSeeds):
    """The same, with what other results say of it."""

    # Of a result of its own, which older kept runs lack (`replicate.verdicts.table1`).
    ending: NotRequired[TrainingEnd | None]
    """Whether training had ended; null where no training is known."""
    samplers: NotRequired[SamplersOfRow | None]
    """Comparison of samplers; null where none was made."""
    whole_runs: NotRequired[list[WholeRun]]
    """Kept runs of the recipe with half and with twice the epochs, where there are such."""
    # Added by the table itself, which knows how many models there are together.
    interval_simultaneous: NotRequired[Interval | None]
    """Interval that holds with 95 % for all models of the data set together, nats."""
    simultaneous_models: NotRequired[int]
    """Number of these models."""


# Every measure is here whatever the verdict, null where it was not computed, so that a reader need
# not ask which keys there are.
class CellVerdict(TypedDict):
    """The verdict on a published value (docs/protocol.md, section 3); null where not tested."""

    state: VerdictState
    """Verdict."""
    reason: str
    """Why, in words."""
    seeds_needed: int | None
    """Fewest seeds that would decide, where the verdict is inconclusive."""
    difference: float | None
    """Measured less published mean, nats."""
    ci90: Interval | None
    """90 % interval of the difference, nats."""
    ci95: Interval | None
    """95 % interval of the difference, nats."""
    ci90_simultaneous: Interval | None
    """Interval that holds with 90 % for all claims of the data set together, nats."""
    ci95_simultaneous: Interval | None
    """Interval that holds with 95 % for all claims of the data set together, nats."""
    simultaneous_claims: int | None
    """Number of these claims."""
    number_margin: float | None
    """Margin within which the number counts as the same, nats."""
    claim_margin: float | None
    """Margin within which the claim counts as replicated, nats; it decides."""
    number_state: VerdictState | None
    """Verdict by the margin of the number."""
    claim_state: VerdictState | None
    """Verdict by the margin of the claim."""
    naive_z: float | None
    """Difference in standard errors of both, as if these covered everything."""
    prediction_interval: Interval | None
    """95 % interval of another mean like the published one, nats."""
    compatible: bool | None
    """Whether the published value lies in it."""
    protocol_sha256: str | None
    """Digest of the claim's entry in protocol.yaml."""


class TableCell(TypedDict):
    """One model on one data set."""

    claim: str | None
    """Name of the published value in protocol.yaml; null where there is none."""
    published: PublishedValue | None
    """The paper's value, or null."""
    measured: MeasuredCell | None
    """What this run measured, or null."""
    verdict: CellVerdict
    """Verdict on the published value."""


class TableRow(TypedDict):
    """One model on all data sets."""

    model: str
    """Model, or reference row."""
    title: str
    """Its title."""
    kind: Literal["model", "reference"]
    """`reference` where nothing is trained."""
    cells: dict[str, TableCell]
    """Data set -> the model on it."""


class RivalComparison(TypedDict):
    """A model less one rival; null where either has fewer than two seeds."""

    rival: str
    """Rival."""
    title: str
    """Its title."""
    expected: Literal["ahead", "behind"]
    """Where the model stands in the paper: ahead of the rival or behind it."""
    difference: float | None
    """Model's less rival's mean log-likelihood, nats."""
    ci90: Interval | None
    """90 % interval of the difference, nats."""
    ci95: Interval | None
    """95 % interval of the difference, nats."""
    ci95_simultaneous: Interval | None
    """Interval that holds with 95 % for all rivals together, nats."""
    state: VerdictState | None
    """Verdict on this pair."""
    seeds_needed: int | None
    """Fewest seeds that would decide, where the pair is inconclusive."""
    probability_of_improvement: float | None
    """Share of pairs of seeds in which the model is ahead."""
    improvement_interval: Interval | None
    """Its 95 % bootstrap interval."""
    # Earlier tables compared by one sampler alone.
    published_sampler_agrees: NotRequired[bool | None]
    """Whether the order is the same by the samplers of Table 1; null where it cannot be told."""
    published: float
    """Rival's published log-likelihood, nats."""
    seeds: int
    """Seeds of the model."""
    seeds_ahead: int
    """Seeds of the model above the rival's published value."""
    share_ahead: float | None
    """Their share."""
    share_interval: Interval | None
    """Its 95 % interval (Wilson)."""


class OrderingState(TypedDict):
    """The verdict on an order of rows."""

    state: VerdictState
    """Verdict."""
    reason: str
    """Why, in words."""
    seeds_needed: int | None
    """Fewest seeds that would decide, where the verdict is inconclusive."""
    protocol_sha256: str | None
    """Digest of the claim's entry in protocol.yaml."""


class OrderingVerdict(TypedDict):
    """An order of rows that the paper claims (docs/protocol.md, section 4)."""

    claim: str
    """Name in protocol.yaml."""
    dataset: str
    """Data set."""
    model: str
    """Model that is compared."""
    title: str
    """Its title."""
    comparisons: list[RivalComparison]
    """The model with every rival."""
    verdict: OrderingState
    """Verdict on all of them together."""


class TableDataset(TypedDict):
    """A column of the table."""

    name: str
    """Data set."""
    title: str
    """Its title."""
    published: bool
    """Whether the paper has numbers for it."""


class ContextValue(TypedDict):
    """Another published estimate, for context (`results/published/context.csv`)."""

    model: str
    """Model."""
    dataset: str
    """Data set."""
    samples: str
    """Samples of the estimate, as published."""
    source: str
    """Where it is published."""
    year: str
    """When."""
    status: str
    """`verified` where it was read in the source, `unverified` where quoted from memory."""
    differences: str
    """How it was measured differently."""
    log_likelihood: float
    """Mean, nats."""
    standard_error: float | None
    """Standard error, nats; null where none is published."""


class TableParameters(TypedDict):
    """Parameters of the stage `table`."""

    preset: str
    """Name of the run."""
    seeds: list[str]
    """Blocks of seeds."""
    absent: dict[str, str]
    """Data set that was left out of the run -> why."""


class Table1(Frame):
    """`table1.json`, stage `table`: Table 1 of the paper, published and measured.

    Beside it `table1.csv`: the same cells, one a line.
    """

    stage: Literal["table"]
    """Stage that wrote the file."""
    parameters: TableParameters
    """Parameters of the job."""
    preset: str
    """Name of the run."""
    rows: list[TableRow]
    """Models, reference rows last."""
    orderings: list[OrderingVerdict]
    """Orders of rows that the paper claims."""
    datasets: list[TableDataset]
    """Columns."""
    context: list[ContextValue]
    """Other published estimates."""


# `dvc metrics` compares numbers, and null is none.
class CellMetrics(TypedDict):
    """The measured numbers of a cell; one that is null in the table is left out."""

    log_likelihood: NotRequired[float]
    """Mean over seeds, nats."""
    sd_over_seeds: NotRequired[float]
    """Standard deviation over seeds (ddof 1), nats."""
    standard_error_test: NotRequired[float]
    """Mean of the seeds' standard errors over test images, nats."""


#: `metrics.json`, stage `metrics`: data set -> model -> numbers of Table 1, in the form that
#: `dvc metrics` reads; a file without the frame.
Metrics = dict[str, dict[str, CellMetrics]]


# ----------------------------------------------------------------------------------------- tuning


class TuningParameters(TypedDict):
    """The trials file, without its models (`replicate.stages.tune.Trials`)."""

    dataset: str
    """Data set."""
    budget: int
    """Trials of every model."""
    seeds: str
    """Block of seeds that every trial trains."""
    compute: ComputeParameters
    """Device, threads and precision."""
    selection: SelectionParameters
    """How the epoch was chosen."""
    likelihood: Options
    """Section `likelihood` of the parameters."""


class Trial(TypedDict):
    """One setting of one model."""

    trial: int
    """Its number, from 0."""
    changes: Options
    """What the trials file changes."""
    config: Options
    """All settings of the model."""
    epochs: int
    """Epochs of the recipe."""
    seeds: str
    """Block of seeds."""
    log_likelihood: float | None
    """Mean over seeds of the best validation log-likelihood, nats; null if a seed failed."""
    per_seed: list[float | None]
    """The best validation log-likelihood, nats: [seed]."""
    chosen_epoch: list[int | None]
    """Its epoch: [seed]."""
    failed: dict[str, Failure]
    """Seed that failed -> when and why."""
    seconds: float
    """Wall-clock time."""
    code: str
    """Digest of the syntax trees of the modules that computed the trial."""
    key: str
    """Digest of everything that decides it; a trial with the same one is not run again."""


class Tuning(Frame):
    """`tuning/DATASET.json`, stage `tune`: the trials by which the models were tuned."""

    stage: Literal["tune"]
    """Stage that wrote the file."""
    parameters: TuningParameters
    """The trials file, without its models."""
    dataset: str
    """Data set."""
    budget: int
    """Trials of every model."""
    models: dict[str, list[Trial]]
    """Model -> its trials."""


# --------------------------------------------------------------------------------- the multiverse


class MultiverseParameters(TypedDict):
    """Parameters of the command `multiverse`."""

    claims: list[str]
    """Claims that were asked for; empty for all."""


class MultiverseFlip(TypedDict):
    """A single choice, all others being the protocol's, that leads to another verdict."""

    choice: str
    """What is chosen (`replicate/multiverse/choices.yaml`)."""
    option: str
    """What is taken instead of the protocol's own, in words."""
    state: VerdictState
    """Verdict then."""


class MultiverseCounts(TypedDict):
    """The verdicts of all analyses of one claim."""

    state: VerdictState
    """Verdict of the protocol's own analysis."""
    analyses: int
    """Analyses: combinations of choices that the kept files allow."""
    agreeing: int
    """Of these, the ones that end in the protocol's verdict."""
    states: dict[str, int]
    """Verdict -> analyses that end in it."""
    flips: list[MultiverseFlip]
    """Single choices that lead to another verdict."""


class EarlierVerdict(TypedDict):
    """A verdict by an earlier rule, which was known when the rule was changed."""

    run: str
    """Folder of the kept run."""
    state: VerdictState
    """Its verdict."""


class MultiverseClaim(MultiverseCounts):
    """One claim as one run measured it."""

    claim: str
    """Name in protocol.yaml."""
    kind: Literal["number", "statement"]
    """Whether it is a value of Table 1, or what the paper says in words."""
    run: str
    """Folder of the run: `results`, or one below `results/reference`."""
    file: str
    """File that holds the verdict."""
    by_earlier_rule: bool
    """Whether the run was judged by a rule that is no longer in protocol.yaml."""
    earlier_verdicts: list[EarlierVerdict]
    """Verdicts of kept runs by an earlier rule, where the run has today's."""
    known_before_the_rule: str | None
    """That its results were known when its rule was made, in words; or null."""


class Multiverse(Frame):
    """`reference/multiverse.json`, command `multiverse --json`: verdicts under many analyses.

    No evidence: the counts are of choices, not of data.
    """

    stage: Literal["multiverse"]
    """Command that wrote the file."""
    parameters: MultiverseParameters
    """Parameters of the command."""
    claims: list[MultiverseClaim]
    """Claims: the numbers of Table 1 of each run, then the statements."""


# ------------------------------------------------------------------------------------- comparison


class CountsOfBoth(TypedDict):
    """A number of both runs; null where a run did not keep it."""

    ours: int | None
    """Of this run."""
    theirs: int | None
    """Of the other run."""


class MeanDifference(TypedDict):
    """The difference of two means."""

    value: float
    """Our mean less theirs, nats."""
    error: float | None
    """Its standard error, nats; null for the same bits and for fewer than two seeds."""
    degrees: float | None
    """Degrees of freedom (Welch); null also for infinitely many."""
    ci95: Interval | None
    """95 % interval of the difference, nats."""


class ComparedCell(TypedDict):
    """A model on a data set in both runs."""

    dataset: str
    """Data set."""
    model: str
    """Model."""
    seeds: CountsOfBoth
    """Seeds."""
    draws: CountsOfBoth
    """Draws of samples of each seed."""
    shared_seeds: list[int]
    """Seeds that both runs have."""
    bits: Literal["same", "other"] | None
    """Whether all measured numbers are the same bits; null where a run did not keep them."""
    difference: MeanDifference | None
    """Difference of means, or null."""
    reason: str | None
    """Why there is no difference, or null."""
    other_rule: bool
    """Whether the verdicts were reached by different entries of the protocol."""


class ComparedClaim(TypedDict):
    """An order of rows or a statement, in both runs."""

    claim: str
    """Name in protocol.yaml."""
    kind: Literal["ordering", "statement"]
    """Of Table 1's rows, or beside it."""
    change: Change
    """What became of the verdict."""
    other_rule: bool
    """Whether the verdicts were reached by different entries of the protocol."""


class ComparisonCounts(TypedDict):
    """How many rows, orders and statements agree."""

    rows: int
    """Rows that both runs measured."""
    rows_of_one_run: int
    """Rows that one run measured."""
    rows_same_bits: int
    """Rows with the same bits."""
    claims: dict[str, int]
    """What became of a verdict -> number of orders and statements."""


class SettingValue(TypedDict):
    """A setting with its source."""

    place: str
    """File and JSON pointer."""
    value: Any
    """The value there, any JSON."""


class ComparedSetting(TypedDict):
    """A setting that differs."""

    kind: Literal["asked", "code", "machine"]
    """Whether it was asked for, or is the code's or the machine's."""
    name: str
    """Its path in the parameters, or what else it is."""
    of: list[str]
    """Rows and experiments that it was set for."""
    ours: SettingValue | None
    """Of this run; null where it does not have the setting."""
    theirs: SettingValue | None
    """Of the other run; null where it does not have the setting."""


class CompareParameters(TypedDict):
    """Parameters of a comparison."""

    other: str
    """Name of the other run."""


class RunComparison(Frame):
    """`report/PAGE.comparison.json`, by `report --compare`: this run beside another one."""

    stage: Literal["compare"]
    """What wrote the file."""
    parameters: CompareParameters
    """The other run."""
    rows: list[ComparedCell]
    """Cells of Table 1 that either run measured."""
    claims: list[ComparedClaim]
    """Orders of rows and statements that either run has."""
    counts: ComparisonCounts
    """Numbers of both."""
    settings: list[ComparedSetting]
    """Settings that differ."""


# ------------------------------------------------------------------------------- records and notes


class SourceState(TypedDict):
    """The commit of the project that ran."""

    commit: str | None
    """Commit, or null."""
    dirty: bool | None
    """Whether tracked files differ from it; null where nobody can tell."""
    reason: NotRequired[str]
    """Why there is no commit."""


# In the record and not in the result: results of equal bits must not differ by what was around
# them.
class JobSeal(TypedDict):
    """The seal of a finished job (`replicate.jobs.seal`)."""

    rule: str
    """Rule of the job."""
    about: str
    """What the job is about, such as `digits/vae/0-2`."""
    given: str
    """Digest of its parameters."""
    code: str
    """Digests of the logic of its stages."""
    inputs: dict[str, str]
    """File that it read -> digest."""
    outputs: dict[str, str]
    """File that it made -> digest."""


# All but the first two fields may be missing: a job whose stages write no record has the seal
# alone, and each kind of stage adds what only it knows.
class RunRecord(TypedDict):
    """`X.run.json` beside every result `X.json`: what a job cost, and where it ran.

    It takes no part in any comparison of results. A job whose stages write no record has the seal
    alone.
    """

    schema: int
    """Version of the record: 1."""
    stage: str
    """Stage, or rule where no stage wrote the record."""
    result: NotRequired[str]
    """Name of the result file."""
    started: NotRequired[str]
    """When the stage began, UTC, ISO 8601 to the millisecond; not in files of earlier versions."""
    ended: NotRequired[str]
    """When it ended, likewise."""
    wall_seconds: NotRequired[float]
    """Wall-clock time of the stage."""
    peak_memory_mib: NotRequired[float]
    """Memory at its peak, MiB."""
    versions: NotRequired[dict[str, str]]
    """Python or package -> version."""
    processor: NotRequired[str]
    """Name of the processor."""
    instructions: NotRequired[dict[str, str]]
    """Library -> the instruction set that it computes with."""
    cores: NotRequired[int | None]
    """Logical cores of the machine."""
    system: NotRequired[str]
    """Operating system."""
    source: NotRequired[SourceState]
    """Commit of the project."""
    lock_sha256: NotRequired[str | None]
    """Digest of requirements.lock; null where there is none."""
    device: NotRequired[str]
    """`cpu` or `cuda`, of stages with tensors."""
    device_name: NotRequired[str]
    """Name of the device."""
    threads: NotRequired[int]
    """CPU threads."""
    deterministic_algorithms: NotRequired[bool]
    """Whether torch was held to deterministic algorithms."""
    products: NotRequired[str]
    """How matrix products were computed (`replicate.training.products`)."""
    tf32: NotRequired[bool]
    """Whether TF32 was allowed."""
    gpu_libraries: NotRequired[dict[str, str]]
    """`cuda`, `cudnn` -> version, of stages on a GPU."""
    gpu_driver: NotRequired[str | None]
    """Version of its driver; null where the system does not tell it."""
    epochs: NotRequired[int]
    """Epochs of the recipe, of a training."""
    seeds: NotRequired[int]
    """Seeds of the block, of a training."""
    steps: NotRequired[int]
    """Steps, of a training."""
    steps_in_this_process: NotRequired[int]
    """Steps since the last checkpoint that this process started from, of a training."""
    earlier_attempts: NotRequired[int]
    """Processes that were interrupted before, of a training."""
    earlier_seconds: NotRequired[float]
    """Time of these up to their checkpoints, of a training."""
    images: NotRequired[int]
    """Images that were drawn, of `sample`."""
    seconds_per_10000: NotRequired[float]
    """Time of 10,000 images, of `sample`."""
    job: NotRequired[JobSeal]
    """Seal of the job."""
    record_sha256: NotRequired[str]
    """Digest of the record without this field."""


class WeightsFile(TypedDict):
    """Weights in `.replicate/reference/weights/SHA256.safetensors`."""

    sha256: str
    """Digest of the file, and its name."""
    size: int
    """Bytes."""


class ChosenWeights(WeightsFile):
    """Weights of the chosen epochs."""

    epoch: list[int | None]
    """Epoch: [seed]."""


class LastWeights(WeightsFile):
    """Weights of the last epoch."""

    epoch: int
    """Epoch."""


class BlockWeights(TypedDict):
    """`reference/ENTRY/MODEL/BLOCK/weights.json`: the kept weights of a reference block."""

    epochs: int
    """Epochs of the recipe."""
    chosen: ChosenWeights
    """Weights of the chosen epochs."""
    last: LastWeights | None
    """Weights of the last epoch; null where every seed failed before a state was kept."""
