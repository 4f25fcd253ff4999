"""Messages put together from fragments and taken apart, as far as we are willing to hold them.

See:
    PS3.7 §6 (messages), PS3.8 Annex E (presentation data values).
"""

from io import BytesIO
from typing import Any, cast

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_CANCEL
from pynetdicom.pdu_primitives import P_DATA

from radloop.dimse.commands import BadMessage, data_name, read_command, write_command
from radloop.dimse.limits import Bounded, TooLarge

_COMMAND_BYTES = 1 << 16
_CANCELS = 10
_FRAGMENT = 1 << 20
_ITEM_HEADER = 6


class Messages(DIMSEServiceProvider):
    """Puts messages together, as far as we are willing to hold them."""

    _primitive: Any = None
    _command = b""
    _data = BytesIO()
    _data_bytes = 0

    def receive_primitive(self, primitive: P_DATA) -> None:
        """See `DIMSEServiceProvider.receive_primitive`.

        Raises:
            TooLarge: The message is larger than we take; the association ends.
            BadMessage: It is none.
        """
        for context_id, value in primitive.presentation_data_value_list:
            if not value:
                raise BadMessage("a presentation data value without its control header")
            if value[0] & 1:
                self._receive_command(value, context_id)
            elif self._primitive is None:
                raise BadMessage("a data set without a command")
            else:
                self._hold(len(value) - 1)
                self._data.write(memoryview(value)[1:])
                if value[0] & 2:
                    self._finish()

    def _receive_command(self, value: bytes, context_id: int) -> None:
        self._command += value[1:]
        if self._primitive is not None or len(self._command) > _COMMAND_BYTES:
            raise BadMessage("a command inside another, or without an end")
        if value[0] & 2:
            self._primitive, has_data = read_command(self._command)
            self._primitive._context_id = context_id  # noqa: SLF001 — as pynetdicom does
            self._command, self._data, self._data_bytes = b"", BytesIO(), 0
            if not has_data:
                self._finish()

    def _finish(self) -> None:
        """Hand a whole message on; a C-CANCEL does not queue behind what it is to cancel."""
        message, self._primitive = self._primitive, None
        data, self._data = self._data, BytesIO()
        name = data_name(message)
        if name is not None:
            setattr(message, name, data)
        if not isinstance(message, C_CANCEL):
            self.msg_queue.put((message._context_id, message))  # noqa: SLF001 — set above
        elif len(self.cancel_req) < _CANCELS:
            self.cancel_req[int(message.MessageIDBeingRespondedTo or 0)] = message

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """See `DIMSEServiceProvider.send_msg`."""
        name = data_name(primitive)
        data = None if name is None else getattr(primitive, name)
        view = memoryview(b"" if data is None else data.getvalue())
        command = memoryview(write_command(primitive, has_data_set=bool(view)))
        room = (self.maximum_pdu_size or _FRAGMENT) - _ITEM_HEADER
        for kind, content in ((1, command), (0, view)):
            for start in range(0, len(content), room):
                fragment = content[start : start + room]
                control = kind | (2 if start + room >= len(content) else 0)
                pdu = P_DATA()
                pdu.presentation_data_value_list.append((context_id, b"".join((bytes([control]), fragment))))
                self.dul.send_pdu(pdu)

    def _hold(self, count: int) -> None:
        """Account for bytes of a data set."""
        association: Bounded = cast("Any", self.assoc)
        if self._data_bytes + count > association.limits.object_bytes:
            raise TooLarge("the message is larger than we take")
        if not association.budget.take(count):
            raise TooLarge("all associations together hold as much as they may")
        if not self._data_bytes and count:
            association.held.append(0)
        if count:
            association.held[-1] += count
        self._data_bytes += count


def data_bytes(message: Any) -> int:
    """Length of the data set that came with a message."""
    for name in ("DataSet", "Identifier"):
        data = getattr(message, name, None)
        if isinstance(data, BytesIO):
            return data.getbuffer().nbytes
    return 0
