"""VHD and VHDX disk images: reading, writing, maps, making, converting, checking, checkpoints.

See README.md of the package, and __init__.pyi for what each call takes.
"""

import ctypes
import dataclasses
import io
import os
from ctypes import byref, c_int, c_uint32, c_void_p

from . import _native
from ._native import Error, library

__all__ = ["Disk", "RawDisk", "Error", "Extent", "Finding", "Geometry", "Layer", "ConvertResult",
           "Checkpoint", "Checkpoints", "open", "create", "convert", "check", "checkpoints",
           "create_checkpoint", "apply_checkpoint", "delete_checkpoint", "rename_checkpoint",
           "version"]

_FORMATS = {None: 0, "raw": 1, "vhd": 2, "vhdx": 3}
_FORMAT_NAMES = {number: name for name, number in _FORMATS.items()}
_TYPES = {"fixed": 0, "dynamic": 1, "differencing": 2}
_TYPE_NAMES = {number: name for name, number in _TYPES.items()}
_DRIVERS = {None: 0, "blocking": 1, "io_uring": 2}
_ACCESS = {"read_only": 0, "read_write": 1, "inspect": 2}
_KINDS = ("data", "zero", "hole")
_LOGS = ("none", "clean", "dirty")
_SEVERITIES = ("note", "warning", "error")
_DURABLE = 1
_TO_THE_END = 2 ** 64 - 1


def _number(table, word, what):
    try:
        return table[word]
    except (KeyError, TypeError):
        words = ", ".join(str(known) for known in table)
        raise ValueError(f"{what} is one of {words}, not {word!r}") from None


def _unsigned(value, what):
    """An offset or a length: what is negative must not become a huge one."""
    value = int(value)
    if not 0 <= value < 2 ** 64:
        raise ValueError(f"{what} is {value}")
    return value


@dataclasses.dataclass(frozen=True)
class Geometry:
    virtual_size: int
    block_size: int
    logical_sector_size: int
    physical_sector_size: int
    format: str
    type: str
    writable: bool
    layers: int


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    id: str
    name: str
    file: str
    parent: "str | None"
    created_unix: int
    hidden: bool


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    current: str
    current_parent: "str | None"
    checkpoints: "tuple[Checkpoint, ...]"


@dataclasses.dataclass(frozen=True)
class Layer:
    path: str
    format: str
    type: str
    virtual_size: int
    block_size: int
    file_size: int
    allocated_bytes: int
    replayed_entries: int
    log: str
    logical_sector_size: int
    physical_sector_size: int
    identifier: "str | None"
    data_write_guid: "str | None"
    parent_linkage: "str | None"


@dataclasses.dataclass(frozen=True)
class Extent:
    offset: int
    length: int
    kind: str
    layer: "int | None"
    host_offset: "int | None"


@dataclasses.dataclass(frozen=True)
class Finding:
    file: str
    id: str
    severity: str
    offset: int
    text: str
    repairable: bool


@dataclasses.dataclass(frozen=True)
class ConvertResult:
    virtual_size: int
    copied_bytes: int
    cloned_bytes: int
    skipped_bytes: int
    zero_bytes: int


def version():
    return library.ovhd_version().decode()


def _set_policy(policy, open_parents=True, parents=(), raw_parent=None, parent_dirs=(),
                cross_device=False, trusted_owners=(), max_depth=None):
    """What the structure points to: to be kept until the call is over."""
    chain = [_native.path_bytes(parent) for parent in parents]
    formats = [0] * len(chain)
    if raw_parent is not None:
        chain.append(_native.path_bytes(raw_parent))
        formats.append(_FORMATS["raw"])
    folders = [_native.path_bytes(folder) for folder in parent_dirs]
    owners = [_unsigned(owner, "a user id") for owner in trusted_owners]
    kept = (_native.strings(chain), (c_int * len(formats))(*formats), _native.strings(folders),
            (c_uint32 * len(owners))(*owners))
    policy.open_parents, policy.cross_device = bool(open_parents), bool(cross_device)
    if max_depth is not None:
        policy.max_depth = _unsigned(max_depth, "max_depth")
    policy.chain, policy.chain_formats, policy.dirs, policy.owners = kept
    policy.chain_count, policy.dir_count, policy.owner_count = map(
        len, (chain, folders, owners))
    return kept


def open(path, *, writable=False, inspect=False, format=None, driver=None, direct=False, **parents):
    """Opens an image, and its parents. See Disk."""
    if writable and inspect:
        raise ValueError("writable and inspect contradict each other")
    options = _native.options_of(_native.OpenOptions, library.ovhd_open_options_init)
    options.access = _ACCESS["read_write" if writable else "inspect" if inspect else "read_only"]
    options.format = _number(_FORMATS, format, "format")
    options.driver = _number(_DRIVERS, driver, "driver")
    options.direct = bool(direct)
    kept = _set_policy(options.parents, **parents)
    handle = c_void_p()
    _native.check(library.ovhd_open(_native.path_bytes(path), byref(options), byref(handle)))
    del kept
    return Disk(handle)


class Disk:
    """An open disk. A context manager that closes it; any number of threads may use it."""

    def __init__(self, handle):
        """For open() alone."""
        self._open = handle
        geometry = _native.Geometry(struct_size=ctypes.sizeof(_native.Geometry))
        _native.check(library.ovhd_get_geometry(handle, byref(geometry)))
        self.geometry = Geometry(
            geometry.virtual_size, geometry.block_size, geometry.logical_sector_size,
            geometry.physical_sector_size, _FORMAT_NAMES[geometry.format],
            _TYPE_NAMES[geometry.type], bool(geometry.writable), geometry.layers)
        self.files = tuple(os.fsdecode(library.ovhd_layer_path(handle, layer))
                           for layer in range(geometry.layers))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        handle, self._open = getattr(self, "_open", None), None
        if handle is not None:
            library.ovhd_close(handle)

    def __repr__(self):
        state = "closed" if self.closed else "writable" if self.geometry.writable else "read-only"
        return f"<openvhd.Disk {self.files[0]!r}, {self.size} bytes, {state}>"

    @property
    def _handle(self):
        if self._open is None:
            raise ValueError("the disk is closed")
        return self._open

    @property
    def closed(self):
        return self._open is None

    @property
    def size(self):
        return self.geometry.virtual_size

    def close(self):
        """Flushes and lets go of the image; raises where something is not durable."""
        if self._open is not None:
            handle, self._open = self._open, None
            _native.check(library.ovhd_close(handle))

    def layers(self):
        return [self._layer(number) for number in range(len(self.files))]

    def _layer(self, number):
        layer = _native.Layer(struct_size=ctypes.sizeof(_native.Layer))
        _native.check(library.ovhd_get_layer(self._handle, number, byref(layer)))
        guids = (guid.decode() or None for guid in
                 (layer.identifier, layer.data_write_guid, layer.parent_linkage))
        return Layer(self.files[number], _FORMAT_NAMES[layer.format], _TYPE_NAMES[layer.type],
                     layer.virtual_size, layer.block_size, layer.file_size, layer.allocated_bytes,
                     layer.replayed_entries, _LOGS[layer.log], layer.logical_sector_size,
                     layer.physical_sector_size, *guids)

    def read(self, length, offset=0):
        into = bytearray(_unsigned(length, "length"))
        self.readinto(into, offset)
        return bytes(into)

    def readinto(self, into, offset=0):
        offset = _unsigned(offset, "offset")
        with _native.buffer(into, writable=True) as (address, length):
            _native.check(library.ovhd_read(self._handle, address, length, offset))
            return length

    def write(self, data, offset=0, *, durable=False):
        offset = _unsigned(offset, "offset")
        with _native.buffer(data, writable=False) as (address, length):
            _native.check(library.ovhd_write(self._handle, address, length, offset,
                                             _DURABLE if durable else 0))
            return length

    def zero(self, offset, length, *, durable=False):
        _native.check(library.ovhd_zero(self._handle, _unsigned(offset, "offset"),
                                        _unsigned(length, "length"), _DURABLE if durable else 0))

    def trim(self, offset, length, *, durable=False):
        _native.check(library.ovhd_trim(self._handle, _unsigned(offset, "offset"),
                                        _unsigned(length, "length"), _DURABLE if durable else 0))

    def flush(self):
        _native.check(library.ovhd_flush(self._handle))

    def map(self, offset=0, length=None):
        """The extents of a range of whole sectors, one after the other."""
        at = _unsigned(offset, "offset")
        end = self.size if length is None else at + _unsigned(length, "length")
        extent = _native.Extent()
        while at < end:
            _native.check(library.ovhd_map(self._handle, at, end - at, byref(extent)))
            kind = _KINDS[extent.kind]
            yield Extent(extent.offset, extent.length, kind,
                         None if kind == "hole" else extent.layer,
                         extent.host_offset if kind == "data" else None)
            at += extent.length

    def raw(self):
        """The disk as a file; closing it flushes and leaves the disk open."""
        return RawDisk(self)


class RawDisk(io.RawIOBase):
    """A disk as an unbuffered file of one size, with a position. One thread."""

    def __init__(self, disk):
        super().__init__()
        self._disk = disk
        self._at = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def writable(self):
        return self._disk.geometry.writable

    def tell(self):
        return self._at

    def seek(self, offset, whence=os.SEEK_SET):
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._disk.size}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, into):
        view = memoryview(into).cast("B")
        view = view[:max(0, min(len(view), self._disk.size - self._at))]
        if len(view) == 0:
            return 0
        self._at += self._disk.readinto(view, self._at)
        return len(view)

    def write(self, data):
        view = memoryview(data).cast("B")
        if len(view) and self._at >= self._disk.size:
            raise OSError(28, "beyond the end of the disk")  # ENOSPC, as block devices have it
        view = view[:self._disk.size - self._at]
        self._at += self._disk.write(view, self._at)
        return len(view)

    def flush(self):
        if not self.closed and not self._disk.closed and self.writable():
            self._disk.flush()


def _create_options(size, type, format, block_size, logical_sector_size, physical_sector_size,
                    log_size, parent, azure, no_sparse, overwrite, parents):
    options = _native.options_of(_native.CreateOptions, library.ovhd_create_options_init)
    options.format = _number(_FORMATS, format, "format")
    options.type = _number(_TYPES, type, "type")
    options.virtual_size = _unsigned(size or 0, "size")
    options.block_size = _unsigned(block_size, "block_size")
    options.logical_sector_size = _unsigned(logical_sector_size, "logical_sector_size")
    options.physical_sector_size = _unsigned(physical_sector_size, "physical_sector_size")
    options.log_size = _unsigned(log_size, "log_size")
    options.parent = None if parent is None else _native.path_bytes(parent)
    options.azure, options.no_sparse, options.overwrite = map(
        bool, (azure, no_sparse, overwrite))
    return options, _set_policy(options.parents, **parents)


def create(path, size=None, *, type="dynamic", format=None, block_size=0, logical_sector_size=0,
           physical_sector_size=0, log_size=0, parent=None, azure=False, no_sparse=False,
           overwrite=False, **parents):
    """Makes an image, which is durable when this returns. With a parent: a differencing one."""
    if azure:
        type = "fixed"
    options, kept = _create_options(size, type, format, block_size, logical_sector_size,
                                    physical_sector_size, log_size, parent, azure, no_sparse,
                                    overwrite, parents)
    _native.check(library.ovhd_create(_native.path_bytes(path), byref(options)))
    del kept


class _Progress:
    """A callable as the library wants it; what it raises comes out of the call that it stopped."""

    def __init__(self, call):
        self.raised = None
        self._call = call
        self.function = _native.PROGRESS(self._update) if call else _native.PROGRESS()

    def _update(self, _, done, total):
        try:
            return 1 if self._call(done, total) is False else 0
        except BaseException as raised:  # of whatever kind: there is no Python above us
            self.raised = raised
            return 1

    def check(self, result):
        if self.raised is not None:
            raise self.raised
        _native.check(result)


def convert(source, target, *, source_format=None, format=None, type=None, size=None, block_size=0,
            logical_sector_size=0, physical_sector_size=0, log_size=0, azure=False,
            no_sparse=False, overwrite=False, offset=0, length=None, reflink=True, direct=True,
            progress=None, **parents):
    """Copies a disk, chains flattened, into a new image. progress(done, total) may return False."""
    if type is None:
        type = "fixed" if azure or format == "raw" else "dynamic"
    create_options, kept = _create_options(size, type, format, block_size, logical_sector_size,
                                           physical_sector_size, log_size, None, azure, no_sparse,
                                           overwrite, {})
    options = _native.options_of(_native.ConvertOptions, library.ovhd_convert_options_init)
    kept = (kept, _set_policy(options.source_parents, **parents))
    options.source, options.target = map(_native.path_bytes, (source, target))
    options.source_format = _number(_FORMATS, source_format, "source_format")
    options.create = ctypes.pointer(create_options)
    options.offset = _unsigned(offset, "offset")
    options.length = _TO_THE_END if length is None else _unsigned(length, "length")
    options.reflink, options.direct = bool(reflink), bool(direct)
    watcher = _Progress(progress)
    options.progress = watcher.function
    result = _native.ConvertResult(struct_size=ctypes.sizeof(_native.ConvertResult))
    watcher.check(library.ovhd_convert(byref(options), byref(result)))
    del kept
    return ConvertResult(result.virtual_size, result.copied_bytes, result.cloned_bytes,
                         result.skipped_bytes, result.zero_bytes)


def check(path, *, chain=False, azure=False, progress=None, **parents):
    """What is to be said about an image: a list of findings, empty for a sound one."""
    options = _native.options_of(_native.CheckOptions, library.ovhd_check_options_init)
    options.chain, options.azure = bool(chain), bool(azure)
    kept = _set_policy(options.parents, **parents)
    watcher = _Progress(progress)
    options.progress = watcher.function
    report = c_void_p()
    watcher.check(library.ovhd_check(_native.path_bytes(path), byref(options), byref(report)))
    del kept
    try:
        return [_finding(report, number) for number in range(library.ovhd_report_count(report))]
    finally:
        library.ovhd_report_free(report)


def _finding(report, number):
    found = _native.Finding()
    _native.check(library.ovhd_report_finding(report, number, byref(found)))
    return Finding(os.fsdecode(found.file), found.id.decode(), _SEVERITIES[found.severity],
                   found.offset, found.text.decode("utf-8", "replace"), bool(found.repairable))


def _text(value, what):
    text = os.fsencode(value) if isinstance(value, str) else bytes(value)
    if b"\0" in text:
        raise ValueError(f"{what} with a null byte in it")
    return text


def _tree(call, image, *arguments, check=_native.check):
    """Makes a call that answers with the checkpoints of a disk."""
    tree = c_void_p()
    check(call(_native.path_bytes(image), *arguments, byref(tree)))
    try:
        parent = library.ovhd_checkpoints_current_parent(tree)
        return Checkpoints(
            os.fsdecode(library.ovhd_checkpoints_current(tree)), parent and parent.decode(),
            tuple(_checkpoint(tree, number)
                  for number in range(library.ovhd_checkpoints_count(tree))))
    finally:
        library.ovhd_checkpoints_free(tree)


def _checkpoint(tree, number):
    one = _native.Checkpoint()
    _native.check(library.ovhd_checkpoints_get(tree, number, byref(one)))
    return Checkpoint(one.id.decode(), one.name.decode("utf-8", "surrogateescape"),
                      os.fsdecode(one.file), one.parent and one.parent.decode(), one.created_unix,
                      bool(one.hidden))


def checkpoints(image):
    """The checkpoints of a disk, by any of its images. Nobody may have the disk open."""
    return _tree(library.ovhd_checkpoint_list, image)


def create_checkpoint(image, name=None):
    """Keeps the state of now. The disk goes on in a new image: `current` of what this returns."""
    return _tree(library.ovhd_checkpoint_create, image,
                 None if name is None else _text(name, "a name"))


def apply_checkpoint(image, which, *, discard=False):
    """Goes back to a checkpoint, by name or id. The state of now is kept as one, or discarded."""
    return _tree(library.ovhd_checkpoint_apply, image, _text(which, "a checkpoint"), bool(discard))


def delete_checkpoint(image, which, *, progress=None):
    """Gives up a checkpoint, by name or id; all others stay. progress as that of convert()."""
    watcher = _Progress(progress)
    return _tree(library.ovhd_checkpoint_delete, image, _text(which, "a checkpoint"),
                 watcher.function, None, check=watcher.check)


def rename_checkpoint(image, which, name):
    """Gives a checkpoint, by name or id, another name."""
    return _tree(library.ovhd_checkpoint_rename, image, _text(which, "a checkpoint"),
                 _text(name, "a name"))
