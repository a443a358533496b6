"""Violations of C01 and C02."""
from . import bases
from .bases import Case
from .damage import Violation, item, locator
from .vhdx_writer import MIB, fixed_guid


def chain():
    return bases.vhdx_chain()


def vhd_chain():
    return bases.vhd_chain()


def warning(name, ids, base, *damage):
    return Violation(name, ids, base, *damage, severity="warning")


def lose(name):
    """Takes a file away."""
    return lambda case: case.images.pop(name)


def of_parent(change):
    """Damages the parent instead of the child."""
    def apply(case):
        parent = next(image for name, image in case.images.items() if name.startswith("parent"))
        change(parent)
    return apply


def linkage(guid, second=None):
    """Other linkage GUIDs in the child."""
    def make(pairs):
        pairs = [("parent_linkage", "{%s}" % guid)] + pairs[1:]
        return pairs + ([("parent_linkage2", "{%s}" % second)] if second else [])
    return locator(make)


def path(text):
    """Another relative path in the child."""
    return locator(lambda pairs: [pairs[0], ("relative_path", text)])


def other_sector_parent():
    """The parent has 4 KiB sectors, the child 512."""
    parent = bases.vhdx_dynamic("parent.vhdx")
    child = bases.vhdx_child(parent)
    big = bases.vhdx_fixed("parent.vhdx")
    big.data_write = parent.data_write
    big.write_headers()
    return Case(child, big)


def self_parent():
    image = bases.vhdx_dynamic("parent.vhdx")
    child = bases.vhdx_child(image)
    child.set_locator([("parent_linkage", "{%s}" % child.data_write),
                       ("relative_path", ".\\child.vhdx")])
    return Case(child)


def vhd_self_parent():
    parent = bases.vhd_dynamic("parent.vhd")
    child = bases.vhd_child(parent, parent_id=bases.CHILD_ID, parent_name="child.vhd",
                            locators=[(b"W2ru", ".\\child.vhd".encode("utf-16-le"))])
    return Case(child)


def two_cycle():
    """a names b, b names a."""
    base = bases.vhdx_dynamic("base.vhdx")
    one, two = bases.vhdx_child(base, "a.vhdx"), bases.vhdx_child(base, "bb.vhdx")
    one.set_locator(bases.locator_pairs(two, ".\\bb.vhdx"))
    two.set_locator(bases.locator_pairs(one, ".\\a.vhdx"))
    return Case(one, two)


def same_identity():
    """A copy of the child stands between it and its parent."""
    parent = bases.vhdx_dynamic("parent.vhdx")
    child = bases.vhdx_child(parent)
    twin = bases.vhdx_child(parent)
    twin.name = twin.file.name = "twin.vhdx"
    child.set_locator(bases.locator_pairs(twin, ".\\twin.vhdx"))
    return Case(child, twin, parent)


def deep(count):
    """A chain of `count` parents."""
    def build():
        images = [bases.vhdx_dynamic("0.vhdx")]
        for number in range(1, count + 1):
            child = bases.vhdx_child(images[-1], "%d.vhdx" % number)
            child.data_write = fixed_guid(3000 + number)
            child.write_headers()
            images.append(child)
        return Case(images[-1], *images[:-1])
    return build


def vhd_larger_parent():
    parent = bases.vhd_dynamic("parent.vhd")
    child = bases.vhd_child(parent, size=5 * MIB, blocks={})
    return Case(child, parent)


ALL = (
    Violation("c01-parent-missing", "C01", chain, lose("parent.vhdx")),
    Violation("c01-vhd-parent-missing", "C01", vhd_chain, lose("parent.vhd")),
    Violation("c01-path-with-folder", "C01", chain, path("..\\parent.vhdx")),
    Violation("c01-absolute-path", "C01", chain, path("C:\\parent.vhdx")),
    Violation("c01-other-linkage", "C01", chain, linkage(fixed_guid(7))),
    Violation("c01-parent-changed", "C01", chain,
              of_parent(lambda image: (setattr(image, "data_write", fixed_guid(8)),
                                       image.write_headers()))),
    warning("c01-linkage2-only", "C01", chain, linkage(fixed_guid(7), fixed_guid(2))),
    Violation("c01-parent-larger", "C01", chain, item("size", "<Q", 11 * MIB + 512 * 1024)),
    Violation("c01-vhd-parent-larger", "C01", vhd_larger_parent),
    Violation("c01-other-sector-size", "C01", other_sector_parent),
    Violation("c01-parent-damaged", "C01 X12", chain,
              of_parent(lambda image: image.file.pack(image.bat_place(1), "<Q", 5))),
    Violation("c01-parent-no-image", "C01", chain,
              of_parent(lambda image: image.file.write(0, bytes(8 * MIB)))),
    Violation("c02-self", "C02", self_parent),
    Violation("c02-vhd-self", "C02", vhd_self_parent),
    Violation("c02-cycle-of-two", "C02", two_cycle),
    Violation("c02-same-identity", "C02", same_identity),
    Violation("c02-too-deep", "C02", deep(3), max_depth=2),
)
