"""The stages of a small run on digits, called as a user would by hand."""

from pathlib import Path

from replicate.__main__ import main

PARAMS = (
    '{{"seeds": ["0-1"], "selection": {{"every": 2, "samples": 200}}, "likelihood": {{"samples": 300, "draws": 2}}, '
    '"datasets": {{"digits": {{}}}}, "models": {{"adversarial_nets": {{"digits": {{"epochs": {epochs}}}}}}}}}'
)


class Pipeline:
    """Paths and commands of one run in a folder."""

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        self.folder = folder
        self.manifest = folder / "digits.sources.json"
        self.data = data or folder / "digits.safetensors"
        self.weights = folder / "train" / "0-1.safetensors"
        self.samples = folder / "samples" / "0-1.safetensors"
        self.bandwidth = folder / "bandwidth" / "0-1.json"
        self.evaluation = folder / "evaluation" / "0-1.json"
        self.table = folder / "table1.json"

    @staticmethod
    def call(stage: str, *words: object, params: str | None = None) -> None:
        """Runs a stage in this process; it must succeed."""
        given = ["--params", params] if params else []
        assert main([stage, *given, *map(str, words)]) == 0

    def training_words(
        self, out: Path, state: Path, data: Path | None = None, epochs: int = 4
    ) -> list[str]:
        """The words of a training command."""
        words = [
            "train",
            "--params",
            PARAMS.format(epochs=epochs),
            "--dataset",
            "digits",
            "--model",
            "adversarial_nets",
        ]
        words += [
            "--block",
            "0-1",
            "--data",
            str(data or self.data),
            "--out",
            str(out),
            "--state",
            str(state),
        ]
        return words

    def train(self, out: Path, data: Path | None = None, epochs: int = 4) -> None:
        """Trains in this process."""
        assert main(self.training_words(out, out.parent / ".state", data, epochs)) == 0

    def run(self, first: str = "fetch") -> None:
        """All stages from `first` (fetch or train) to the table."""
        params = PARAMS.format(epochs=4)
        if first == "fetch":
            self.call("fetch", "--dataset", "digits", "--out", self.manifest)
            self.call(
                "prepare",
                "--dataset",
                "digits",
                "--manifest",
                self.manifest,
                "--out",
                self.data,
                params=params,
            )
        self.train(self.weights)
        self.call(
            "sample",
            "--weights",
            self.weights,
            "--data",
            self.data,
            "--out",
            self.samples,
            params=params,
        )
        self.call(
            "bandwidth",
            "--samples",
            self.samples,
            "--data",
            self.data,
            "--out",
            self.bandwidth,
            params=params,
        )
        self.call(
            "evaluate", "--samples", self.samples, "--bandwidth", self.bandwidth, "--data", self.data,
            "--out", self.evaluation, params=params,
        )  # fmt: skip
        self.call("table", "--out", self.table, self.evaluation, params=params)
