"""What `alrare status` says of the jobs of a campaign, from files that another machine sees too."""

import time
from pathlib import Path

from ..files import read_json
from .choose import JOBS_FOLDER
from .parsl_executor import STATE_FILE

_OLD = 30.0  # s


def jobs_text(folder: Path) -> str:
    """Return lines about tasks and jobs; empty if the campaign has no jobs.

    Parameters
    ----------
    folder : Path
        The run folder.
    """
    path = folder / JOBS_FOLDER / STATE_FILE
    if not path.is_file():
        return ""
    state = read_json(path)
    age = time.time() - state["time"]
    when = f", as of {age:.0f} s ago" if age > _OLD and state["jobs"] else ""
    lines = []
    for kind, count in state["tasks"].items():
        running = min(count.get("running", 0), count["waiting"])
        lost = f", {count['workers lost']} workers lost" if count["workers lost"] else ""
        lines.append(
            f"  {kind:6} {count['waiting'] - running} queued, {running} running,"
            f" {count['done']} done{lost}"
        )
    for name, job in state["jobs"].items():
        said = f": {job['message']}" if job["message"] else ""
        lines.append(f"  job {job['id']} ({name}) {job['state']}{said}")
    return "\n".join([f"tasks elsewhere{when}", *lines])
