"""CRC-32C (Castagnoli) in pure Python, fast where the data is mostly zeros.

Runs of zero bytes are skipped by applying the matrix of "feed 2^k zero bytes" to the register,
so a 64 KiB region table with two entries costs about as much as its two entries.
"""
import sys
from array import array

_POLY = 0x82F63B78
_PIECE = 4096
_ZERO_PIECE = bytes(_PIECE)


def _byte_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLY if value & 1 else 0)
        table.append(value)
    return table


_T8 = _byte_table()
_T16 = array("L")
_ZERO_MATRICES = [[_T8[1 << bit] if bit < 8 else 1 << (bit - 8) for bit in range(32)]]


def _wide_table():
    if not _T16:
        for pair in range(65536):
            low = _T8[pair & 0xFF]
            _T16.append(_T8[(low ^ (pair >> 8)) & 0xFF] ^ (low >> 8))
    return _T16


def _apply(matrix, vector):
    result = 0
    bit = 0
    while vector:
        if vector & 1:
            result ^= matrix[bit]
        vector >>= 1
        bit += 1
    return result


def _feed_zeros(state, count):
    power = 0
    while count:
        if power == len(_ZERO_MATRICES):
            last = _ZERO_MATRICES[-1]
            _ZERO_MATRICES.append([_apply(last, column) for column in last])
        if count & 1:
            state = _apply(_ZERO_MATRICES[power], state)
        count >>= 1
        power += 1
    return state


def _feed_bytes(state, data):
    if len(data) >= 512:
        table = _wide_table()
        even = len(data) & ~1
        words = array("H", data[:even])
        if sys.byteorder == "big":
            words.byteswap()
        for word in words:
            state = table[(state ^ word) & 0xFFFF] ^ (state >> 16)
        data = data[even:]
    for byte in data:
        state = _T8[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state


class Crc32c:
    """Incremental CRC-32C; the value of everything fed so far is `value()`."""

    def __init__(self):
        self._state = 0xFFFFFFFF
        self._zeros = 0

    def update(self, data):
        """Feeds `data` (bytes)."""
        for start in range(0, len(data), _PIECE):
            piece = data[start:start + _PIECE]
            if piece == _ZERO_PIECE:
                self._zeros += _PIECE
                continue
            head = piece.rstrip(b"\0")
            if head:
                if self._zeros:
                    self._state = _feed_zeros(self._state, self._zeros)
                self._zeros = 0
                self._state = _feed_bytes(self._state, head)
            self._zeros += len(piece) - len(head)
        return self

    def value(self):
        """CRC of the bytes fed so far."""
        return _feed_zeros(self._state, self._zeros) ^ 0xFFFFFFFF


def crc32c(data):
    """CRC-32C of `data`."""
    return Crc32c().update(data).value()


def crc32c_with_zeroed_field(data, field_offset):
    """CRC-32C of `data` with the 4 bytes at `field_offset` counted as zero."""
    crc = Crc32c()
    crc.update(data[:field_offset] + bytes(4) + data[field_offset + 4:_PIECE])
    return crc.update(data[_PIECE:]).value()
