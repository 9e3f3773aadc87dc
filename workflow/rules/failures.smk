"""What a user sees of jobs that failed, once nothing runs any more. No rules here."""

import logging
import shlex

from snakemake_interface_logger_plugins.common import LogEvent

#: Lines of a log that are shown.
LOG_END = 12


class FailedJobs(logging.Handler):
    """Remembers the jobs that failed: Snakemake's own note of each is far above when a run ends, or left out (quiet)."""

    def __init__(self):
        super().__init__()
        self.found = {}

    def emit(self, record):
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_ERROR:
            self.found[record.jobid] = record
        elif event == LogEvent.JOB_FINISHED:  # of a job that failed and was tried again
            self.found.pop(record.job_id, None)

    def report(self):
        """For each failed job the end of its log, and the command that repeats it alone; nothing after Ctrl-C."""
        lines = []
        for job in self.found.values():
            ends = [log_end(Path(name)) for name in job.log]
            if any(end and end[-1].endswith(": interrupted.") for end in ends):
                continue  # the user stopped it
            if all(Path(file).exists() for file in job.output):
                continue  # another job of its group failed
            lines.append(f"\nFailed: {job.rule_name} -> {', '.join(job.output[:1])}")
            for name, end in zip(job.log, ends, strict=True):
                lines += [f"The end of {name}:", *(f"    {line}" for line in end)]
            # In a store its inputs are no longer here.
            if job.shellcmd and MIRROR is None:
                lines += [
                    "To repeat it alone:",
                    f"    {repeating(job.shellcmd, job.conda_env)}",
                ]
        return "\n".join(lines)


def log_end(path):
    """The last lines of a log."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ["(there is no such file: the job did not start)"]
    return text.rstrip().splitlines()[-LOG_END:]


def repeating(command, conda_env=None):
    """A job's command as one line for the user's shell: without the log, and with the path of the Python that ran it.

    What that shell starts as `python` is not known here: `make report` puts the environment first in PATH for itself,
    and with --use-conda Snakemake activates `conda_env` before each job. Its Python needs nothing else of an
    activation, as all its packages are Python's own.
    """
    python = Path(conda_env).absolute() / "bin/python" if conda_env else sys.executable
    words = shlex.split(command.split(" 2>&1 | tee ")[0])
    words[words.index("python")] = str(python)
    return shlex.join(words)


FAILED = FailedJobs()
if workflow.is_main_process:
    logger.addHandler(FAILED)
