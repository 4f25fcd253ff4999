"""`radloop packs`: what a viewer streams, as files that any web server or CDN gives out."""

from contextlib import suppress
from pathlib import Path

import click

from radloop.api.shapes import for_good
from radloop.core.errors import NotFound
from radloop.core.identity import OWNER
from radloop.core.ports import AuditEntry
from radloop.local.blobs import FileBlobs
from radloop.options import home_option, json_option
from radloop.streaming.layers import Layers, of_store
from radloop.terminal import bar, print_facts
from radloop.wiring import open_local


@click.group(short_help="Static packs of an image set, for any web server or CDN.")
def packs() -> None:
    """Static packs: what a viewer streams of an image set, as files that any web server or CDN gives out."""


@packs.command(short_help="Write the packs of an image set into a folder.")
@click.argument("image_set")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@home_option
@json_option
def write(image_set: str, folder: Path, home: Path | None, as_json: bool) -> None:
    """Write index, previews and frames of an image set below packs/ of a folder.

    They are not sealed: whoever reads the files sees the pictures. What is there of the same version already is left as
    it is, and older versions go; a run that was cut off goes on where it was.
    """
    root = home or Path("radloop-home")
    if not (root / "index.sqlite").exists():
        raise NotFound(f"{root} is no home: it has no index.sqlite")
    with open_local(root) as installation:
        platform, images = installation.platform, installation.images
        reading = images.reading(image_set)
        written = of_store(reading, for_good(reading.image_set, len(reading.addresses), platform.records))
        platform.audit.record(AuditEntry(OWNER.id, "export", image_set))
        blobs = FileBlobs(folder)
        layers = Layers(blobs, root="")
        with bar("frames", len(written.addresses)) as advance:
            layers.write(written, advance)
    place = layers.place(written)
    for empty in (folder / place.drafts, folder / "drafts" / image_set, folder / "drafts"):
        with suppress(OSError):  # another run may have its own in it
            empty.rmdir()
    files = sorted(blobs.keys(place.folder))
    facts = {
        "image_set": image_set,
        "version": written.version,
        "frames": len(written.addresses),
        "files": len(files),
        "bytes": sum((folder / key).stat().st_size for key in files),
        "out": str(folder / place.folder),
    }
    print_facts(facts, as_json)
