"""Letters to draw on pictures with: five pixels wide, seven high, two below the line."""

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

HEIGHT: Final = 9
WIDTH: Final = 5
_GAP: Final = 1
_UNKNOWN: Final = "?"

# Seven rows of five pixels each, top row first, two hexadecimal digits a row, the leftmost pixel worth 16; nine rows
# where a letter reaches below the line.
_ROWS: Final = {
    " ": "00000000000000",
    "%": "18190204081303",
    "(": "02040808080402",
    ")": "08040202020408",
    "+": "0004041F040400",
    ",": "00000000000C0C0408",
    "-": "0000001F000000",
    ".": "00000000000C0C",
    "/": "00010204081000",
    "0": "0E11131519110E",
    "1": "040C040404040E",
    "2": "0E11010204081F",
    "3": "1F02040201110E",
    "4": "02060A121F0202",
    "5": "1F101E0101110E",
    "6": "0608101E11110E",
    "7": "1F010204080808",
    "8": "0E11110E11110E",
    "9": "0E11110F01020C",
    ":": "000C0C000C0C00",
    "=": "00001F001F0000",
    "?": "0E110102040004",
    "A": "0E1111111F1111",
    "B": "1E11111E11111E",
    "C": "0E11101010110E",
    "D": "1C12111111121C",
    "E": "1F10101E10101F",
    "F": "1F10101E101010",
    "G": "0E11101711110F",
    "H": "1111111F111111",
    "I": "0E04040404040E",
    "J": "0702020202120C",
    "K": "11121418141211",
    "L": "1010101010101F",
    "M": "111B1515111111",
    "N": "11111915131111",
    "O": "0E11111111110E",
    "P": "1E11111E101010",
    "Q": "0E11111115120D",
    "R": "1E11111E141211",
    "S": "0F10100E01011E",
    "T": "1F040404040404",
    "U": "1111111111110E",
    "V": "11111111110A04",
    "W": "1111111515150A",
    "X": "11110A040A1111",
    "Y": "1111110A040404",
    "Z": "1F01020408101F",
    "a": "00000E010F110F",
    "b": "1010161911111E",
    "c": "00000E1010110E",
    "d": "01010D1311110F",
    "e": "00000E111F100E",
    "f": "0609081C080808",
    "g": "00000F1111110F010E",
    "h": "10101619111111",
    "i": "04000C0404040E",
    "j": "02000602020202120C",
    "k": "10101214181412",
    "l": "0C04040404040E",
    "m": "00001A15151111",
    "n": "00001619111111",
    "o": "00000E1111110E",
    "p": "00001E1111111E1010",
    "q": "00000F1111110F0101",
    "r": "00001619101010",
    "s": "00000E100E011E",
    "t": "08081C08080906",
    "u": "0000111111130D",
    "v": "00001111110A04",
    "w": "0000111115150A",
    "x": "0000110A040A11",
    "y": "0000111111110F010E",
    "z": "00001F0204081F",
}


def written(text: str, scale: int = 1) -> Mask:
    """A line of text as a mask.

    Args:
        text: Letters that are not known become question marks.
        scale: Pixels a pixel of the letters takes.

    Returns:
        bool (9 * scale, columns); no columns for no text.
    """
    if not text:
        return np.zeros((HEIGHT * scale, 0), dtype=np.bool_)
    gap = np.zeros((HEIGHT, _GAP), dtype=np.bool_)
    pieces = [piece for letter in text for piece in (_letter(letter if letter in _ROWS else _UNKNOWN), gap)]
    line = np.concatenate(pieces[:-1], axis=1)
    return line.repeat(scale, axis=0).repeat(scale, axis=1)


def width_of(text: str, scale: int = 1) -> int:
    """Columns that `written` needs."""
    return max(0, len(text) * (WIDTH + _GAP) - _GAP) * scale


@lru_cache(maxsize=128)
def _letter(letter: str) -> Mask:
    rows = bytes.fromhex(_ROWS[letter]).ljust(HEIGHT, b"\0")
    return np.array([[bool(row >> (WIDTH - 1 - column) & 1) for column in range(WIDTH)] for row in rows])
