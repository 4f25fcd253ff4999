"""OpenJPH, once its tables are filled.

It fills the tables of its block coder, and chooses its wavelets for the processor, at the first use of each in a
process. It looks at a flag without a lock before it does: of two threads that come first at the same time, one may
encode or decode with tables that the other is just emptying, and pixels come out wrong. So the first thread here fills
all of them, alone; after that there is nothing left to fill.
"""

import threading
from typing import Any

import imagecodecs
import numpy as np

_guard = threading.Lock()
_ready = threading.Event()
_COLOUR = 3


def openjph() -> Any:
    """The module `imagecodecs`, with whose `htj2k_encode` and `htj2k_decode` any number of threads may now work."""
    if not _ready.is_set():
        _make_ready()
    return imagecodecs


def _make_ready() -> None:
    with _guard:
        if _ready.is_set():
            return
        for shape in ((64, 64), (64, 64, 3)):
            for kind in (np.uint8, np.uint16, np.int16):
                frame = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape).astype(kind)
                for is_lossless in (True, False):
                    stream = imagecodecs.htj2k_encode(
                        frame,
                        reversible=is_lossless,
                        level=None if is_lossless else 0.01,
                        rgb=len(shape) == _COLOUR,
                        planar=False,
                    )
                    imagecodecs.htj2k_decode(stream, planar=False)
        _ready.set()
