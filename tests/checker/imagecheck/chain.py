"""Opening an image with its parents (C01, C02) and choosing the format by content."""
import os

from . import vhd_layout, vhdx_layout, vhdx_metadata
from .report import FileReport
from .source import FileSource, ReadError
from .vhd import VhdImage
from .vhdx import VhdxImage

DEFAULT_DEPTH = 64
MAX_NAME = 255


class Options:
    """How far to go: parents, where they may lie, and which exceptions the caller grants."""

    def __init__(self, follow=True, parent_dirs=(), max_depth=DEFAULT_DEPTH, raw_parent=False,
                 allow_smaller_child=False, size_rule="auto"):
        self.follow = follow
        self.parent_dirs = list(parent_dirs)
        self.max_depth = max_depth
        self.raw_parent = raw_parent
        self.allow_smaller_child = allow_smaller_child
        self.size_rule = size_rule


class RawImage:
    """A flat file as the last layer; only where the caller allowed it."""

    kind_name = "raw"
    has_parent = linkable = False
    sector_size = vhd_layout.SECTOR

    def __init__(self, source, report):
        self.source = self.view = source
        self.report = report
        self.size = source.size
        self.readable = True
        report.facts.update(format="raw", kind="raw", file_size=source.size,
                            virtual_size=source.size)

    def extents(self, start, end):
        """All of it is data."""
        yield start, end - start, "data", start


class Chain:
    """The layers of a disk, leaf first.

    `complete` tells whether contents can be rebuilt: all layers found, and no error in any.
    """

    def __init__(self, layers, reports, complete):
        self.layers = layers
        self.reports = reports
        self.complete = complete

    def close(self):
        for layer in self.layers:
            layer.source.close()


class DirectoryFinder:
    """Finds parents on the host: one plain component beside the child, or in granted folders."""

    def __init__(self, parent_dirs):
        self._dirs = parent_dirs

    def candidates(self, child, relative, others):
        """Yields sources for a parent of the file `child`; missing files are passed over."""
        names = []
        name = plain_component(relative) if relative else None
        if name:
            names.append((os.path.dirname(child) or ".", name))
        for folder in self._dirs:
            for text in [relative] + others:
                name = plain_component((text or "").replace("/", "\\").split("\\")[-1])
                if name:
                    names.append((folder, name))
        for folder, name in names:
            path = os.path.join(folder, name)
            try:
                yield FileSource(path, follow=False)
            except (OSError, ReadError):
                continue


def plain_component(text):
    """`text` without one leading `.\\`, if it then is one harmless file name; else None."""
    if text.startswith(".\\") or text.startswith("./"):
        text = text[2:]
    if not text or text in (".", "..") or any(ord(c) < 32 or c in "/\\:\x7f" for c in text):
        return None
    if text[-1] in ". " or len(text.encode("utf-8", "replace")) > MAX_NAME:
        return None
    return text


def detect(source):
    """"vhdx", "vhd" or None by content; a name ending decides for damaged files only."""
    if source.read_upto(0, 8) == b"vhdxfile":
        return "vhdx"
    for tail in (vhd_layout.FOOTER_SIZE, vhd_layout.SHORT_FOOTER):
        if source.size >= tail and source.read(source.size - tail, 8) == b"conectix":
            return "vhd"
    if source.read_upto(0, 8) == b"conectix":
        return "vhd"
    heads = [source.read_upto(offset, 4) for offset in vhdx_layout.HEADER_OFFSETS]
    regions = [source.read_upto(offset, 4) for offset in vhdx_layout.REGION_OFFSETS]
    if b"head" in heads or b"regi" in regions:
        return "vhdx"
    name = source.name.lower()
    if name.endswith((".vhdx", ".avhdx")):
        return "vhdx"
    return "vhd" if name.endswith((".vhd", ".avhd")) else None


def open_image(source, report, options, wanted=None):
    """The checked image; a file that is neither format gives an error and None."""
    kind = detect(source)
    if kind is None or (wanted and kind != wanted):
        rule = "X01" if wanted == "vhdx" else "V01"
        report.error(rule, 0, "file", "not a %s image" % (wanted or "VHD or VHDX"))
        report.facts.update(format=None, file_size=source.size)
        return None
    if kind == "vhdx":
        return VhdxImage(source, report)
    return VhdImage(source, report, options.size_rule)


def open_chain(source, options, finder=None):
    """Checks `source` and, if asked, all its parents."""
    finder = finder or DirectoryFinder(options.parent_dirs)
    report = FileReport(source.name)
    leaf = open_image(source, report, options)
    if leaf is None:
        source.close()
        return Chain([], [report], False)
    chain = Chain([leaf], [report], leaf.readable)
    seen_files, seen_ids = {source.identity}, set()
    while options.follow and chain.layers[-1].has_parent:
        child = chain.layers[-1]
        if not child.linkable:
            break
        if child.identity_guid() in seen_ids:
            child.report.error("C02", None, "chain", "identity %s occurs twice in the chain"
                               % child.identity_guid())
            chain.complete = False
            break
        seen_ids.add(child.identity_guid())
        if len(chain.layers) > options.max_depth:
            child.report.error("C02", None, "chain", "more than %d parents" % options.max_depth)
            chain.complete = False
            break
        parent = _open_parent(child, options, finder, seen_files)
        if parent is None:
            chain.complete = False
            break
        chain.layers.append(parent)
        chain.reports.append(parent.report)
        chain.complete = chain.complete and parent.readable
    if chain.layers[-1].has_parent or any(r.error_count() for r in chain.reports):
        chain.complete = False
    return chain


def _locations(child):
    """(relative path, other texts) that the child gives for its parent."""
    if child.kind_name == "vhdx":
        pairs = child.metadata.locator or {}
        others = [pairs[key] for key in vhdx_metadata.PATH_KEYS[1:] if key in pairs]
        return pairs.get("relative_path"), others
    texts = dict(reversed(child.locators))
    others = [text for _, text in child.locators] + [child.parent_name]
    relative = texts.get(b"W2ru")
    if not relative and plain_component(child.parent_name):
        relative = child.parent_name
    return relative, others


def _open_parent(child, options, finder, seen_files):
    """The first candidate whose linkage fits; says why not when none does."""
    relative, others = _locations(child)
    report, rejected = child.report, []
    for source in finder.candidates(child.source.name, relative, others):
        if source.identity in seen_files:
            report.error("C02", None, "chain", "the parent %s is already part of the chain"
                         % source.name)
            source.close()
            return None
        parent_report = FileReport(source.name)
        if _may_be_raw(child, source, options):
            parent = RawImage(source, parent_report)
        else:
            parent = open_image(source, parent_report, options, child.kind_name)
        fault = _linkage_fault(child, parent)
        if fault is None:
            seen_files.add(source.identity)
            _check_link(child, parent, options)
            return parent
        rejected.append((source.name, fault))
        source.close()
    if rejected:
        for name, fault in rejected:
            report.error("C01", None, "parent link", "%s: %s" % (name, fault))
            if child.kind_name == "vhd":
                report.error("V06", child.header.offset + 40, "parent link", fault)
    else:
        report.error("C01", None, "parent link", "no parent found for %r (looked beside the "
                     "image%s)" % (relative, " and in --parent-dir" if options.parent_dirs else ""))
    return None


def _may_be_raw(child, source, options):
    """Xen marks a raw parent by a zero id; nothing is ever taken for raw unasked."""
    return (options.raw_parent and child.kind_name == "vhd"
            and child.header.parent_id.int == 0 and detect(source) is None)


def _linkage_fault(child, parent):
    if parent is None:
        return "not an image of the child's format"
    if parent.kind_name == "raw":
        return None
    if child.kind_name == "vhdx":
        if parent.header is None:
            return "its header cannot be read"
        if parent.identity_guid() in child.linkage():
            return None
        return "DataWriteGuid %s is not the parent_linkage" % parent.identity_guid()
    if parent.footer is None:
        return "its footer cannot be read"
    if parent.identity_guid() != child.header.parent_id:
        return "UniqueId %s is not the ParentUniqueId %s" % (parent.identity_guid(),
                                                             child.header.parent_id)
    return None


def _check_link(child, parent, options):
    """C01 beyond the id: sector size, disk sizes, time stamp, and which linkage fitted."""
    report = child.report
    if not parent.readable:
        report.error("C01", None, "parent link", "the parent %s is damaged" % parent.source.name)
        return
    if parent.sector_size != child.sector_size:
        report.error("C01", None, "parent link", "logical sector size %d, the parent has %d"
                     % (child.sector_size, parent.sector_size))
    if parent.size > child.size and not options.allow_smaller_child:
        report.error("C01", None, "parent link", "disk of %d bytes, the parent has %d"
                     % (child.size, parent.size))
    elif parent.size < child.size:
        report.note("C01", None, "parent link", "the parent is smaller (%d bytes): zeros follow"
                    % parent.size)
    if child.kind_name == "vhdx" and parent.identity_guid() != child.linkage()[0]:
        report.warning("C01", None, "parent link", "only parent_linkage2 fits (merge under way)")
    if parent.kind_name == "vhd":
        stamp = parent.footer.timestamp
        if child.header.parent_timestamp != stamp:
            report.note("C01", child.header.offset + 56, "parent link",
                        "parent time stamp %d, the parent's footer has %d"
                        % (child.header.parent_timestamp, stamp))
