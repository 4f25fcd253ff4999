"""`radloop ingest --resume`: over a bad link."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radloop.client import Client
from radloop.core.errors import InvalidInput
from radloop.sending import Memory, Sender, names_of, parcels
from radloop.terminal import bar

_COUNTS = ("ingested", "duplicates", "quarantined", "refused", "skipped")


def send_in(client: Client, files: Sequence[Path]) -> dict[str, Any]:
    """Send files so that a cut costs little, wait until they have landed, and close what they became.

    Raises:
        InvalidInput: No server holds the home; there is no link to break.
        Refused: The server does not want them.
        Unavailable: Nothing got through for too long; the next time goes on from there.
    """
    if client.http is None:
        raise InvalidInput("--resume talks to a server: say --server, or start radloop up")
    report: dict[str, Any] = dict.fromkeys(_COUNTS, 0) | {"image_sets": [], "reasons": []}
    sent = parcels(files)
    with bar("sending", sum(parcel.content.length for parcel in sent), in_bytes=True) as advance:
        sender = Sender(client.http, Memory(), told=advance)
        for parcel in sent:
            told = sender.finish(sender.send(parcel), parcel)
            for name in _COUNTS:
                report[name] += told[name]
            report["image_sets"] += [name for name in told["image_sets"] if name not in report["image_sets"]]
            report["reasons"] += names_of(parcel, told["reasons"])
            if told["state"] == "failed":
                report["refused"] += 1
    _close(client, report["image_sets"])
    tally = sender.tally
    return report | {"cuts": tally.cuts, "sent_bytes": tally.sent, "resent_bytes": tally.resent}


def _close(client: Client, image_sets: Sequence[str]) -> None:
    studies = [client.post(f"image-sets/{name}/complete")["study"] for name in image_sets]
    for study in dict.fromkeys(studies):
        client.post(f"studies/{study}/complete")
