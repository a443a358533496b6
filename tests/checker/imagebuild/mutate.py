"""Deterministic random damage that knows where structures lie and can repair their checksums."""
import random

from . import bases, log_writer
from .vhdx_writer import HEADERS, REGIONS

KIB, MIB = 1 << 10, 1 << 20
INTERESTING = (0, 1, 2, 3, 4, 6, 7, 8, 0x7F, 0x80, 0xFF, 511, 512, 513, 4095, 4096, 4097, 65535,
               64 * KIB, 1 << 19, MIB - 1, MIB, 2 * MIB, 3 * MIB, 4 * MIB, 256 * MIB, 1 << 31,
               (1 << 32) - 1, 1 << 32, 1 << 40, 64 << 40, 1 << 43, (1 << 63) - 1, 1 << 63,
               (1 << 64) - MIB, (1 << 64) - 4096, (1 << 64) - 1)
REPAIR_PROBABILITY = 7 / 8


def vhdx_places(image):
    """(offset, length) of what is worth damaging in a VHDX."""
    places = [(place, 96) for place in HEADERS] + [(place, 112) for place in REGIONS]
    places += [(0, 16), (image.metadata_offset, 32 + 32 * 7)]
    places += [(image.metadata_offset + 64 * KIB, 48), (image.bat_offset, 14 * 8)]
    places += [(image.bitmap_place(0), 8)] * 2
    if image.locator is not None:
        places += [(image.item_place("locator"), 400)] * 2
        bitmap = image.file.unpack(image.bitmap_place(0), "<Q") >> 20 << 20
        places += [(bitmap, 400), (bitmap + 12 * 256 - 64, 128)]
    for position in image.entries:
        for at, length in ((0, 160), (0, 160), (4096, 16), (8184, 8)):
            places.append((image.log_offset + (position + at) % image.log_length, length))
    # The table of a dirty image is in its log: places taken from the file itself may be nonsense.
    return [place for place in places if image.file.contains(*place)]


def vhd_places(image):
    """(offset, length) of what is worth damaging in a VHD."""
    places = [(image.footer_place, 90)] * 3
    if image.kind != 2:
        places += [(0, 90), (image.header_place, 64), (image.header_place, 64)]
        places += [(image.bat_place, 20)] * 2
        places += [(image.block_place(block), 160) for block in image.blocks]
    if image.kind == 4:
        places += [(image.header_place + 64, 40), (image.header_place + 576, 192),
                   (image.header_place + 576, 64)]
    return places


def vhdx_repair(image):
    """Makes every checksum of a VHDX right again, also of a log entry that is still one."""
    image.fix_headers()
    image.fix_regions()
    for position in image.entries:
        if not image.file.contains(image.log_offset, image.log_length):
            return
        length = int.from_bytes(log_writer.get(image, position, 4096)[8:12], "little")
        if 4096 <= length <= image.log_length and length % 4096 == 0:
            raw = log_writer.get(image, position, length)
            log_writer.put(image, position, log_writer.checksummed(raw))


def vhd_repair(image):
    """Makes every checksum of a VHD right again."""
    image.fix_footers()
    if image.kind != 2 and image.file.contains(image.header_place, 1024):
        image.fix_header()


class Mutator:
    """Gives damaged copies of one undamaged case."""

    def __init__(self, make):
        self._case = make()
        self._images = list(self._case.images.values())
        self._files = {image.name: image.file for image in self._images}
        self._places = {image.name: (vhdx_places if image.name.endswith("x") else vhd_places)(image)
                        for image in self._images}

    def mutant(self, seed):
        """A Case whose files are fresh copies, damaged in one to four places."""
        rng = random.Random(seed)
        for image in self._images:
            image.file = self._files[image.name].copy()
        image = self._images[0 if rng.random() < 0.85 else -1]
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
            self._damage(rng, image)
        if rng.random() < 0.06:
            self._resize(rng, image)
        if rng.random() < REPAIR_PROBABILITY and image.file.size >= 400 * KIB:
            (vhdx_repair if image.name.endswith("x") else vhd_repair)(image)
        return self._case

    def _damage(self, rng, image):
        file = image.file
        offset, length = rng.choice(self._places[image.name])
        at = offset + rng.randrange(length)
        kind = rng.randrange(5)
        if kind == 0:
            file.flip(at, 1 << rng.randrange(8))
        elif kind == 1:
            file.write(at, bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]))
        elif kind == 2:
            size = rng.choice((2, 4, 8))
            value = (rng.choice(INTERESTING) + rng.choice((0, 0, 0, -1, 1))) % (1 << 8 * size)
            order = "little" if image.name.endswith("x") else "big"
            file.write(offset + (at - offset) // size * size, value.to_bytes(size, order))
        elif kind == 3:
            other, span = rng.choice(self._places[image.name])
            count = rng.randrange(1, min(length, span) + 1)
            file.write(offset, file.read(other, count))
        else:
            file.write(at, rng.randbytes(rng.randrange(1, 33)))

    @staticmethod
    def _resize(rng, image):
        size = image.file.size
        image.file.truncate(rng.choice((0, 1, 511, 512, 4096, size // 2, size - 1, size - 512,
                                        size - MIB, size + 1, size + 512, size + MIB,
                                        rng.randrange(size))))


BASES = (
    lambda: bases.Case(bases.vhdx_dynamic()), lambda: bases.Case(bases.vhdx_fixed()),
    lambda: bases.Case(bases.vhdx_wide()), lambda: bases.Case(bases.vhdx_dirty()),
    bases.vhdx_chain, lambda: bases.Case(bases.vhd_fixed()),
    lambda: bases.Case(bases.vhd_dynamic()), lambda: bases.Case(bases.vhd_small_blocks()),
    bases.vhd_chain, bases.vhdx_dirty_chain,
)
