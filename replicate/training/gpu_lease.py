"""Which of a host's GPUs a job computes on: one that no other job has leased.

A lease is a kernel lock on a file of the host's temporary folder, one for each card, and goes with
the process that holds it. Where a scheduler has given the job one card, there is nothing to choose.
"""

import os
import socket
import sys
import tempfile
from pathlib import Path

from replicate.records.hardware import gpu_cards
from replicate.storage.locks import LockState, try_lock

#: Descriptors of the files whose locks this process holds until it ends.
_LEASED: list[int] = []


def lease_card() -> None:
    """Leaves this process one card to see, before torch has looked for any.

    If none is free it shares one, which happens to jobs started by hand alone, since the engines
    start as many as there are cards; or where the temporary folder has no locks. Says which card it
    is where there are several.
    """
    cards = gpu_cards()
    if len(cards) < 2 or _LEASED:
        return
    for card in cards:
        if _is_leased_now(card):
            _show_only(card, cards)
            return
    # By the process id, so that several that find no free card spread over them.
    card = cards[os.getpid() % len(cards)]
    _show_only(card, cards, ", perhaps shared: none of them could be leased")


def _show_only(card: str, cards: tuple[str, ...], remark: str = "") -> None:
    # CUDA reads it once, when the driver starts.
    os.environ["CUDA_VISIBLE_DEVICES"] = card
    where = f"GPU {card} of the {len(cards)} of {socket.gethostname()}"
    # To standard error: the other stream has the stage's one line of result.
    print(f"computes on {where}{remark}", file=sys.stderr)


def _is_leased_now(card: str) -> bool:
    """Whether the card was free, and is this process's from now on."""
    # A scheduler may number the cards of each of its jobs from 0.
    owner = os.environ.get("SLURM_JOB_ID", "host")
    path = Path(tempfile.gettempdir(), f"replicate-gpu-{owner}-{card.replace('/', '_')}.lock")
    try:
        # To read is enough for a lock; another user's file may be opened, but not made anew.
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except PermissionError:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return False
    except OSError:
        return False
    if try_lock(handle, path) is not LockState.HELD:
        os.close(handle)
        return False
    _LEASED.append(handle)
    return True
