"""Where this run takes place: in the project's folder, for any user. Comes before all else. No rules here."""

import os
import sys
from pathlib import Path

from snakemake.logging import logger

BASE = Path(str(workflow.basedir))
sys.path.insert(0, str(BASE))
# `.venv/bin/snakemake` without an activated environment: jobs find the same Python.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)

from replicate.errors import ReplicateError
from replicate.workplace import check_folder, settle

try:
    check_folder(BASE)
except ReplicateError as error:
    logger.error(str(error))
    sys.exit(1)
settle()
