"""Makes sure that the files of a data set are there, verified, and lists them in a manifest.

A file counts only with the size and SHA-256 that this project pins. What lies in the data folder already is
checked and kept; a wrong file is kept aside as NAME.rejected-...; what is missing is downloaded, continuing
where an earlier download stopped. Nothing is downloaded for a data set that ships with a dependency (digits).

  python -m replicate fetch --dataset mnist --out results/data/mnist.sources.json

Files from elsewhere: put them into data/mnist/ by hand, or name a place that has them; it is tried first:

  python -m replicate fetch --dataset mnist --out mnist.sources.json --mirror file:///media/usb/mnist

Data that users bring themselves (tfd, faces, images) are looked for where they belong; what is found is listed, and
what is missing is said with its path. A folder of images may be named in the parameters:

  python -m replicate fetch --dataset images --out images.sources.json \\
      --params '{"datasets": {"images": {"folder": "/media/usb/photos"}}}'

Environment: REPLICATE_DATA is the data folder (default: data), REPLICATE_MIRRORS holds more addresses,
separated by spaces, REPLICATE_OFFLINE=1 forbids the network, and proxies (https_proxy, no_proxy) are honoured.
"""

import argparse
from pathlib import Path

from replicate.datasets import load_dataset
from replicate.datasets.base import PinnedDataset, UserDataset
from replicate.datasets.download import fetch
from replicate.files import write_json
from replicate.result import result
from replicate.runrecord import RunRecord
from replicate.stages.rawdata import add_data_arguments, brought, dataset_code, digests, listed, options_of


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
    folder = args.data_dir / dataset.name
    if isinstance(dataset, UserDataset):
        _, sources = brought(dataset, folder, options_of(dataset, args.params))
    else:
        assert isinstance(dataset, PinnedDataset)
        fetch(dataset, folder, args.mirror, args.offline)
        sources = listed(dataset)
    content = result("fetch", dataset_code("fetch", dataset), {}, {}, dataset=dataset.name, sources=sources)
    write_json(args.out, content | {"inputs": digests(sources)})
    record.write(args.out)
    files, size = sum(source.get("files", 1) for source in sources), sum(source["size"] for source in sources)
    what = "listed" if isinstance(dataset, UserDataset) else "verified"
    print(f"fetch {dataset.name}: {what} {files} file(s), {size / 1e6:.1f} MB -> {args.out}")
