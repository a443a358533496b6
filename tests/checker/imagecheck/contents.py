"""What a guest would read: the layers of a chain composed, hashed and written out."""
import hashlib

PIECE = 1 << 20
UNIT = 64 << 10
_ZEROS = bytes(PIECE)


def compose(layers, start, end):
    """Yields (offset, length, view or None, source offset); None means zeros."""
    layer = layers[0]
    for offset, length, kind, place in layer.extents(start, end):
        if kind != "parent":
            yield offset, length, layer.view if kind == "data" else None, place
            continue
        parent_end = min(offset + length, layers[1].size)
        if offset < parent_end:
            yield from compose(layers[1:], offset, parent_end)
        low = max(offset, parent_end)
        if low < offset + length:
            yield low, offset + length - low, None, None


def merged(layers, start, end):
    """Like compose, with neighbouring zero ranges joined and file holes turned into zeros."""
    zero_from = None
    for offset, length, view, place in compose(layers, start, end):
        while length:
            if view is None:
                zero_from = offset if zero_from is None else zero_from
                break
            skip = view.next_data(place, place + length) - place
            if skip:
                zero_from = offset if zero_from is None else zero_from
                offset, length, place = offset + skip, length - skip, place + skip
                continue
            if zero_from is not None:
                yield zero_from, offset - zero_from, None, None
                zero_from = None
            step = min(length, PIECE)
            yield offset, step, view, place
            offset, length, place = offset + step, length - step, place + step
    if zero_from is not None:
        yield zero_from, end - zero_from, None, None


def pieces(layers, start, end):
    """Yields (offset, bytes or None, length): at most 1 MiB of data, or any length of zeros."""
    for offset, length, view, place in merged(layers, start, end):
        yield offset, None if view is None else view.read(place, length), length


def sha256(layers, length):
    """Hex digest of the first `length` bytes of the disk."""
    digest = hashlib.sha256()
    if not length:
        return digest.hexdigest()
    for _, data, count in pieces(layers, 0, length):
        if data is not None:
            digest.update(data)
            continue
        while count:
            step = min(count, PIECE)
            digest.update(_ZEROS if step == PIECE else _ZEROS[:step])
            count -= step
    return digest.hexdigest()


def range_sha256(layers, offset, length):
    """Hex digest of [offset, offset + length) of the disk."""
    digest = hashlib.sha256()
    for _, data, count in pieces(layers, offset, offset + length) if length else ():
        while data is None and count:
            step = min(count, PIECE)
            digest.update(_ZEROS[:step])
            count -= step
        if data is not None:
            digest.update(data)
    return digest.hexdigest()


def units(layers, size):
    """Yields (offset, 64 KiB of bytes) for every aligned unit of the disk that is not all zero."""
    current, buffer = None, None
    if not size:
        return
    for offset, data, length in pieces(layers, 0, size):
        if data is None:
            continue
        at = 0
        while at < length:
            unit = (offset + at) // UNIT * UNIT
            inside = offset + at - unit
            step = min(UNIT - inside, length - at)
            if unit != current:
                if buffer is not None and any(buffer):
                    yield current, bytes(buffer)
                current, buffer = unit, bytearray(UNIT)
            buffer[inside:inside + step] = data[at:at + step]
            at += step
    if buffer is not None and any(buffer):
        yield current, bytes(buffer)


def sparse_digest(layers, size):
    """Digest of the disk that costs only its data, and does not depend on how it is stored.

    SHA-256 over (offset as u64 little-endian, 64 KiB) of every aligned 64 KiB unit that is not all
    zero, then 2^64-1 and the disk size as u64 little-endian.
    """
    digest = hashlib.sha256()
    for offset, data in units(layers, size):
        digest.update(offset.to_bytes(8, "little") + data)
    digest.update(b"\xff" * 8 + size.to_bytes(8, "little"))
    return digest.hexdigest()


def data_extents(layers, size, limit):
    """([{offset, length, sha256}], complete): runs of non-zero 64 KiB units, at most `limit`."""
    found = []
    digest, start, end = None, None, None
    for offset, data in units(layers, size):
        if offset != end:
            if digest is not None:
                found.append({"offset": start, "length": end - start,
                              "sha256": digest.hexdigest()})
            if len(found) >= limit:
                return found, False
            digest, start = hashlib.sha256(), offset
        data = data[:size - offset]
        digest.update(data)
        end = offset + len(data)
    if digest is not None:
        found.append({"offset": start, "length": end - start, "sha256": digest.hexdigest()})
    return found, True


def write_raw(layers, size, path):
    """Writes the disk to `path`, which must not exist yet, as a sparse raw file."""
    with open(path, "xb") as out:
        for offset, data in units(layers, size):
            out.seek(offset)
            out.write(data[:size - offset])
        out.truncate(size)


def differing(first, second):
    """The offset of the first 64 KiB unit in which two (layers, size) differ, or None."""
    left, right = units(*first), units(*second)
    one, two = next(left, None), next(right, None)
    while one is not None and two is not None and one == two:
        one, two = next(left, None), next(right, None)
    places = [unit[0] for unit in (one, two) if unit is not None]
    return min(places) if places else None
