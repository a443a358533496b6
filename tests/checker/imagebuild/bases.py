"""The undamaged images that violations start from. Each call builds a fresh one."""
import uuid

from . import log_writer, vhd_writer
from .pattern import block_bytes
from .vhd_writer import Vhd
from .vhdx_writer import ABSENT, FULL, PARTIAL, UNDEFINED, UNMAPPED, ZERO, Vhdx, fixed_guid

MIB = 1 << 20
LOG_ID = fixed_guid(77)
CHILD_ID = uuid.UUID(int=0x0A0B0C0D_1111_4222_8333_555555555555)


class Case:
    """Files by name; the checker is pointed at `target`. `before` is its older state."""

    def __init__(self, target, *others):
        self.images = {image.name: image for image in (target,) + others}
        self.target = target
        self.before = None

    @property
    def files(self):
        return {name: image.file for name, image in self.images.items()}


def vhdx_dynamic(name="disk.vhdx"):
    """12 blocks of 1 MiB in every state; the last block is cut by the end of the disk."""
    image = Vhdx(name)
    image.size = 12 * MIB - 1024
    image.blocks = {0: (FULL, block_bytes(1, 0, 2048), None),
                    1: (ABSENT, None, None), 2: (ZERO, None, None),
                    3: (UNMAPPED, None, None), 4: (UNDEFINED, None, None),
                    5: (FULL, block_bytes(2, 10240, 64), None),
                    6: (UNMAPPED, b"old data behind a soft anchor", None),
                    11: (FULL, block_bytes(3, 22528, 2046), None)}
    image.build()
    return image


def vhdx_fixed(name="disk.vhdx"):
    """4 blocks of 2 MiB, 4 KiB sectors, all present and out of order."""
    image = Vhdx(name)
    image.block_size, image.logical, image.physical = 2 * MIB, 4096, 4096
    image.size, image.leave_allocated = 8 * MIB, True
    image.blocks = {n: (FULL, block_bytes(10 + n, 512 * n, 512, 4096), None) for n in range(4)}
    image.build()
    for block in range(4):
        image.file.pack(image.bat_place(block), "<Q", 4 * MIB + (3 - block) * 2 * MIB | FULL)
    image.blocks = {n: (FULL, image.file.read(image.block_place(n), 2 * MIB), None)
                    for n in range(4)}
    return image


def vhdx_wide(name="disk.vhdx"):
    """20 blocks of 256 MiB: beyond the first chunk, so a bitmap entry lies within the table."""
    image = Vhdx(name)
    image.block_size, image.size = 256 * MIB, 20 * 256 * MIB
    image.blocks = {0: (ZERO, None, None), 15: (FULL, block_bytes(4, 0, 16), None),
                    16: (FULL, block_bytes(5, 0, 16), None), 19: (ZERO, None, None)}
    image.build()
    return image


def locator_pairs(parent, path):
    """The usual locator for a parent image."""
    return [("parent_linkage", "{%s}" % parent.data_write), ("relative_path", path),
            ("absolute_win32_path", "\\\\?\\C:\\disks\\" + path.split("\\")[-1])]


def vhdx_child(parent, name="child.vhdx"):
    """A differencing disk on `parent`, with whole, partial, zero and absent blocks."""
    image = Vhdx(name)
    image.size, image.logical, image.block_size = parent.size, parent.logical, parent.block_size
    image.physical = parent.physical
    image.data_write, image.file_write = fixed_guid(len(name) + 100), fixed_guid(9)
    image.locator = locator_pairs(parent, ".\\" + parent.name)
    per_block = image.block_size // image.logical
    count = image.block_size // 512
    image.blocks = {0: (PARTIAL, block_bytes(20, 0, count), {0, 1, 2, 9, per_block - 1}),
                    2: (FULL, block_bytes(21, 4096, count), None),
                    5: (ZERO, None, None),
                    11: (PARTIAL, block_bytes(22, 0, count), {7, 8, 15, 16})}
    image.build()
    return image


def vhdx_chain():
    """child.vhdx on parent.vhdx."""
    parent = vhdx_dynamic("parent.vhdx")
    return Case(vhdx_child(parent), parent)


def vhdx_dirty(name="disk.vhdx", entries=None, **wrong):
    """A dynamic disk whose table page lies only in the log: two entries, the older one stale.

    `entries` replaces them: [(position, sequence, tail, operations)]; `wrong` damages the last.
    """
    image = vhdx_dynamic(name)
    page = image.file.read(image.bat_offset, 4096)
    image.log_guid = LOG_ID
    image.write_headers()
    image.file.write(image.bat_offset, b"\xee" * 4096)
    size = image.file.size
    if entries is None:
        stale = bytes(range(256)) * 16
        entries = [(0, 5, 0, [("data", image.bat_offset, stale),
                              ("zero", image.bat_offset + 4096, 8192)]),
                   (8192, 6, 0, [("data", image.bat_offset, page)])]
    for number, (position, sequence, tail, operations) in enumerate(entries):
        image.entries.append(position)
        extra = wrong if number == len(entries) - 1 else {}
        guid = extra.get("guid", LOG_ID)
        log_writer.put(image, position, log_writer.encode(
            guid, sequence, tail, operations, extra.get("flushed", size),
            extra.get("last", size), **{k: v for k, v in extra.items()
                                        if k not in ("guid", "flushed", "last")}))
    image.clean_page = page
    return image


def vhdx_dirty_chain():
    """A child whose table and sector bitmap lie only in its log, on a parent."""
    case = vhdx_chain()
    image = case.target
    bitmap = image.file.unpack(image.bitmap_place(0), "<Q") >> 20 << 20
    places = [image.bat_offset, image.bitmap_place(0) // 4096 * 4096, bitmap]
    operations = [("data", place, image.file.read(place, 4096)) for place in places]
    for place in places:
        image.file.write(place, b"\xee" * 4096)
    image.log_guid = LOG_ID
    image.write_headers()
    size = image.file.size
    # The only entry begins in the last sector of the ring.
    start = image.log_length - 4096
    image.entries = [start]
    log_writer.put(image, start, log_writer.encode(LOG_ID, 1, start, operations, size, size))
    return case


def vhdx_huge(name="huge.vhdx"):
    """64 TiB of 1 MiB blocks, three of them present: first, middle, last."""
    image = Vhdx(name)
    image.size, image.log_offset = 64 << 40, MIB
    image.metadata_offset, image.bat_offset, image.bat_length = 2 * MIB, 3 * MIB, 513 * MIB
    last = (image.size >> 20) - 1
    image.blocks = {0: (FULL, block_bytes(6, 0, 2), None), last // 2: (FULL, b"middle", None),
                    last: (FULL, block_bytes(7, 0, 2048), None)}
    image.build()
    return image


def vhd_fixed(name="disk.vhd"):
    """6 MiB of fixed disk."""
    image = Vhd(vhd_writer.FIXED, name)
    image.blocks = {0: (block_bytes(30, 0, 128), None), 2: (block_bytes(31, 8192, 64), None)}
    image.build()
    return image


def vhd_dynamic(name="disk.vhd"):
    """Blocks with all bits set, with some, and none; the disk ends inside the last one."""
    image = Vhd(vhd_writer.DYNAMIC, name)
    image.size = 7 * MIB
    image.blocks = {0: (block_bytes(32, 0, 4096), None),
                    3: (block_bytes(33, 12288, 512), {0, 1, 2, 100, 511})}
    image.build()
    return image


def vhd_small_blocks(name="disk.vhd"):
    """512 KiB blocks: 128 bytes of bitmap in a 512-byte field."""
    image = Vhd(vhd_writer.DYNAMIC, name)
    image.size, image.block_size = 3 * MIB, MIB // 2
    image.blocks = {1: (block_bytes(34, 0, 1024), None), 5: (block_bytes(35, 0, 64), None)}
    image.build()
    return image


def vhd_child(parent, name="child.vhd", **fields):
    """A differencing disk on `parent`."""
    image = Vhd(vhd_writer.DIFFERENCING, name)
    image.size, image.block_size = parent.size, parent.block_size
    image.unique_id = fields.pop("unique_id", CHILD_ID)
    image.parent_id, image.parent_timestamp = parent.unique_id, parent.timestamp
    image.parent_name = parent.name
    image.locators = [(b"W2ru", (".\\" + parent.name).encode("utf-16-le")),
                      (b"W2ku", ("C:\\disks\\" + parent.name).encode("utf-16-le"))]
    last = -(-image.size // image.block_size) - 1
    count = image.block_size // 512
    image.blocks = {0: (block_bytes(40, 0, count), {0, 3, 4, 5, count - 1}),
                    last: (block_bytes(41, 0, count), {1, 2})}
    for field, value in fields.items():
        setattr(image, field, value)
    image.build()
    return image


def vhd_chain():
    """child.vhd on parent.vhd."""
    parent = vhd_dynamic("parent.vhd")
    return Case(vhd_child(parent), parent)
