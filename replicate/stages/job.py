"""How a stage opens and closes: its code's digest, the frame of its result, its run record."""

from collections.abc import Mapping
from pathlib import Path

from replicate.jobs.subject import WHOLE_RUN, Subject, source_digest
from replicate.records.frame import frame_of
from replicate.records.run_record import StageMeter
from replicate.records.schema import Frame
from replicate.storage.files import write_json


class StageJob:
    """One run of a stage, measured from its construction until it is closed.

    Attributes:
        stage: the stage's name.
        facts: what the run record says beside cost and machine, such as the device.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.facts: dict[str, object] = {}
        # Before anything is read: reading is a part of what a stage costs.
        self._meter = StageMeter(stage)

    def frame(
        self,
        parameters: Mapping[str, object],
        inputs: Mapping[str, Path],
        subject: Subject = WHOLE_RUN,
    ) -> Frame:
        """The frame of the stage's result.

        Args:
            parameters: those of the job, with defaults filled in.
            inputs: name -> file that was read.
            subject: what the job is about, where the stage runs a module of it.
        """
        code = source_digest(self.stage, subject)
        return frame_of(code, parameters, inputs)

    def close(self, result: Path, line: str | None = None) -> None:
        """Writes the run record beside the result, and prints what became of the job."""
        self._meter.write(result, **self.facts)
        if line is not None:
            print(line)

    def write(self, result: Path, content: Mapping[str, object], line: str | None = None) -> None:
        """Writes a result that is one JSON file, and closes the job."""
        write_json(result, content)
        self.close(result, line)
