"""What every Keys must do. Subclass it and provide `keys` and `others` (of another installation)."""

import pytest

from radloop.core.errors import Corrupt
from radloop.core.ports import Keys


class KeysContract:
    def test_what_was_sealed_opens_and_looks_different_each_time(self, keys: Keys) -> None:
        wrapped = keys.create()
        sealed = [keys.cipher(wrapped).seal(b"pixels", b"place") for _ in range(2)]
        assert sealed[0] != sealed[1]
        assert b"pixels" not in sealed[0]
        assert [keys.cipher(wrapped).open(one, b"place") for one in sealed] == [b"pixels"] * 2

    def test_nothing_opens_in_another_place_or_under_another_key(self, keys: Keys) -> None:
        wrapped = keys.create()
        sealed = keys.cipher(wrapped).seal(b"pixels", b"place")
        with pytest.raises(Corrupt):
            keys.cipher(wrapped).open(sealed, b"elsewhere")
        with pytest.raises(Corrupt):
            keys.cipher(keys.create()).open(sealed, b"place")

    def test_one_flipped_bit_is_noticed_wherever_it_is(self, keys: Keys) -> None:
        cipher = keys.cipher(keys.create())
        sealed = cipher.seal(bytes(range(64)), b"c")
        for place in range(len(sealed)):
            damaged = bytearray(sealed)
            damaged[place] ^= 1
            with pytest.raises(Corrupt):
                cipher.open(bytes(damaged), b"c")
        for end in range(len(sealed)):
            with pytest.raises(Corrupt):
                cipher.open(sealed[:end], b"c")

    def test_a_data_key_of_another_installation_does_not_unwrap(self, keys: Keys, others: Keys) -> None:
        with pytest.raises(Corrupt):
            keys.cipher(others.create())

    def test_a_pseudonym_is_steady_here_and_different_elsewhere(self, keys: Keys, others: Keys) -> None:
        assert keys.pseudonym("P1") == keys.pseudonym("P1") != keys.pseudonym("P2")
        assert keys.pseudonym("P1") != others.pseudonym("P1")
        assert len(bytes.fromhex(keys.pseudonym("P1"))) == 16
