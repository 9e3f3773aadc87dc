"""Where this run takes place: in the project's folder, for any user. Comes before all else. No rules here."""

import os
import sys
from pathlib import Path

from snakemake.logging import logger

# This file's own place tells it, whichever Snakefile a run begins with.
BASE = Path(str(workflow.current_basedir)).parents[1]
sys.path.insert(0, str(BASE))
# `.venv/bin/snakemake` without an activated environment: jobs find the same Python.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)

from replicate.errors import ReplicateError
from replicate.jobs.workplace import check_folder, supply_user_and_caches

try:
    check_folder(BASE)
except ReplicateError as error:
    logger.error(str(error))
    sys.exit(1)
supply_user_and_caches()
