"""Rules about two states of one file: X19, L07, L08, C07 (`--before OLD`)."""
from . import contents
from . import vhdx_layout as v

PIECE = 1 << 20


def check(old, new, report):
    """`old` and `new` are chains of one image at two times; findings go to `report`."""
    if not (old.layers and new.layers):
        return
    before, after = old.layers[0], new.layers[0]
    if before.kind_name != after.kind_name:
        report.error("X19", None, "transition", "the format changed")
        return
    comparable = old.complete and new.complete
    if comparable:
        _check_shrink(old, before, after, report)
    if before.kind_name != "vhdx" or before.header is None or after.header is None:
        return
    if after.header.sequence < before.header.sequence:
        report.error("X19", after.header.offset + 8, "transition",
                     "the header sequence went back from %d to %d"
                     % (before.header.sequence, after.header.sequence))
    if (after.header.file_write == before.header.file_write
            and _changed_outside_headers(before.source, after.source)):
        report.error("X19", after.header.offset + 16, "transition",
                     "the file changed, its FileWriteGuid did not")
    if comparable:
        _check_data_guid(old, new, before, after, report)


def _check_shrink(old, before, after, report):
    if after.size >= before.size:
        return
    for _, data, _ in contents.pieces(old.layers, after.size, before.size):
        if data is not None and any(data):
            report.error("C07", None, "transition", "the disk shrank from %d to %d bytes and lost "
                         "data" % (before.size, after.size))
            return


def _changed_outside_headers(before, after):
    if before.size != after.size:
        return True
    place = v.HEADER_OFFSETS[1] + v.HEADER_SIZE
    while place < before.size:
        skip = min(before.next_data(place, before.size), after.next_data(place, after.size))
        if skip > place:
            place = skip
            continue
        length = min(PIECE, before.size - place)
        if before.read(place, length) != after.read(place, length):
            return True
        place += length
    return False


def _check_data_guid(old, new, before, after, report):
    place = contents.differing((old.layers, before.size), (new.layers, after.size))
    changed = place is not None or before.size != after.size
    same_guid = after.header.data_write == before.header.data_write
    if changed and same_guid:
        report.error("X19", after.header.offset + 32, "transition", "the disk changed (first near "
                     "byte %s), its DataWriteGuid did not" % place)
    elif not changed and not same_guid:
        report.warning("X19", after.header.offset + 32, "transition",
                       "DataWriteGuid changed, the disk did not")
    replayed = before.log_run and not after.log_run
    if not (replayed and same_guid):
        return
    for target, end in _targets(before):
        if not _applied(before.view, after.view, target, end):
            report.error("L08", target, "transition",
                         "the log was cleared, but its target at 0x%x was not applied" % target)
            report.error("L07", target, "transition",
                         "replay gave other bytes at 0x%x than the log says" % target)
            return
    if after.view.size < before.view.size:
        report.error("L07", None, "transition", "replay left %d bytes, LastFileOffset is %d"
                     % (after.view.size, before.view.size))


def _targets(image):
    for page in image.view.pages():
        yield page, page + v.LOG_SECTOR
    yield from image.view.zero_ranges()


def _applied(replayed, after, start, end):
    while start < end:
        length = min(PIECE, end - start)
        if start + length > after.size or replayed.read(start, length) != after.read(start,
                                                                                     length):
            return False
        start += length
    return True
