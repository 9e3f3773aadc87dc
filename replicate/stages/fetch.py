"""Makes sure that the files of a data set are there, verified, and lists them in a manifest.

A file counts only with the size and SHA-256 that this project pins. What lies in the data folder already is
checked and kept; a wrong file is kept aside as NAME.rejected-...; what is missing is downloaded, continuing
where an earlier download stopped. Nothing is downloaded for a data set that ships with a dependency (digits).

  python -m replicate fetch --dataset mnist --out results/data/mnist.sources.json

Files from elsewhere: put them into data/mnist/ by hand, or name a place that has them; it is tried first:

  python -m replicate fetch --dataset mnist --out mnist.sources.json --mirror file:///media/usb/mnist

Environment: REPLICATE_DATA is the data folder (default: data), REPLICATE_MIRRORS holds more addresses,
separated by spaces, REPLICATE_OFFLINE=1 forbids the network, and proxies (https_proxy, no_proxy) are honoured.
"""

import argparse
from pathlib import Path

from replicate.datasets import load_dataset
from replicate.datasets.download import fetch
from replicate.files import write_json
from replicate.result import result
from replicate.runrecord import RunRecord
from replicate.stages.rawdata import add_data_arguments, dataset_code, listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the stage."""
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="MANIFEST", help="the manifest to write (JSON)")
    parser.add_argument(
        "--mirror", action="append", default=[], metavar="ADDRESS",
        help="base address that is tried first, file:// or http(s)://; may be given more than once",
    )  # fmt: skip
    parser.add_argument("--offline", action="store_true", help="use no network, only files that are there and file://")


def run(args: argparse.Namespace) -> None:
    """Fetches, verifies, and writes the manifest: names, sizes and digests, and no path of this machine."""
    record = RunRecord("fetch")
    dataset = load_dataset(args.dataset)
    paths = fetch(dataset, args.data_dir / dataset.name, args.mirror, args.offline)
    code = dataset_code("fetch", dataset)
    write_json(args.out, result("fetch", code, {}, paths, dataset=dataset.name, sources=listed(dataset)))
    record.write(args.out)
    size = sum(source.size for source in dataset.sources)
    print(f"fetch {dataset.name}: verified {len(paths)} file(s), {size / 1e6:.1f} MB -> {args.out}")
