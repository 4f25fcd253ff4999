"""What was worked out of an image set once and is kept, sealed in a pack of its own, until the image set goes."""

from radloop.core.errors import Conflict, NotFound
from radloop.core.ports import Blobs, Change, Cipher, Put, Records, Stands
from radloop.core.tables import IMAGE_SETS, METADATA
from radloop.store.packs import new_pack, pack_key, put_pack, read_record, ref_of


class Kept:
    """Keeps byte strings by image set and name; what stands under a name is never another.

    Args:
        blobs, records: The ports.
    """

    def __init__(self, blobs: Blobs, records: Records) -> None:
        self._blobs = blobs
        self._records = records

    def get(self, cipher: Cipher, image_set: str, name: str) -> bytes | None:
        """What is kept of an image set under a name; None where nothing is.

        Raises:
            NotFound: The image set is being deleted.
            Corrupt: It fails its seal.
        """
        row = self._records.get(METADATA, f"{image_set}/{name}")
        return None if row is None else read_record(self._blobs, cipher, image_set, ref_of(row.document["ref"]))

    def put(self, cipher: Cipher, image_set: str, name: str, data: bytes) -> None:
        """Keep something under a name; nothing happens where another was first, or where the image set has gone."""
        with new_pack(self._blobs, cipher, image_set) as pack:
            ref = pack.add("metadata", data)
        row = Put(METADATA, f"{image_set}/{name}", {"ref": ref.as_list()}, {"image_set": image_set}, expected=0)
        try:
            self._records.commit(Change([Stands(IMAGE_SETS, image_set), row, put_pack(image_set, pack.name)]))
        except (Conflict, NotFound):
            self._blobs.delete(pack_key(image_set, pack.name))
