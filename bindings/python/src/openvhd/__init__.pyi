"""Types of openvhd. Sizes, offsets and lengths are bytes. What fails raises Error or ValueError."""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, SupportsIndex

from typing_extensions import Buffer

__all__ = ["Disk", "RawDisk", "Error", "Extent", "Finding", "Geometry", "Layer", "ConvertResult",
           "Checkpoint", "Checkpoints", "open", "create", "convert", "check", "checkpoints",
           "create_checkpoint", "apply_checkpoint", "delete_checkpoint", "rename_checkpoint",
           "version"]

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Format = Literal["raw", "vhd", "vhdx"]
Type = Literal["fixed", "dynamic", "differencing"]
Progress = Callable[[int, int], bool | None]

class Error(OSError):
    """errno and strerror as those of OSError; one line with file, offset, structure and rule."""

    reason: str
    def __init__(self, number: int, message: str, reason: str) -> None: ...

@dataclass(frozen=True)
class Geometry:
    virtual_size: int
    block_size: int
    logical_sector_size: int
    physical_sector_size: int
    format: Format
    type: Type
    writable: bool
    layers: int

@dataclass(frozen=True)
class Checkpoint:
    id: str
    name: str
    file: str
    parent: str | None
    created_unix: int
    hidden: bool

@dataclass(frozen=True)
class Checkpoints:
    current: str
    current_parent: str | None
    checkpoints: tuple[Checkpoint, ...]

@dataclass(frozen=True)
class Layer:
    path: str
    format: Format
    type: Type
    virtual_size: int
    block_size: int
    file_size: int
    allocated_bytes: int
    replayed_entries: int
    log: Literal["none", "clean", "dirty"]
    logical_sector_size: int
    physical_sector_size: int
    identifier: str | None
    data_write_guid: str | None
    parent_linkage: str | None

@dataclass(frozen=True)
class Extent:
    offset: int
    length: int
    kind: Literal["data", "zero", "hole"]
    layer: int | None
    host_offset: int | None

@dataclass(frozen=True)
class Finding:
    file: str
    id: str
    severity: Literal["note", "warning", "error"]
    offset: int
    text: str
    repairable: bool

@dataclass(frozen=True)
class ConvertResult:
    virtual_size: int
    copied_bytes: int
    cloned_bytes: int
    skipped_bytes: int
    zero_bytes: int

class Disk:
    """Any number of threads may use a disk; close() and the end of `with` are alone."""

    geometry: Geometry
    files: tuple[str, ...]
    """Paths by layer, the leaf first."""
    def __init__(self, handle: object) -> None: ...
    def __enter__(self) -> Disk: ...
    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def size(self) -> int: ...
    def close(self) -> None: ...
    def layers(self) -> list[Layer]: ...
    def read(self, length: int, offset: int = 0) -> bytes: ...
    def readinto(self, into: Buffer, offset: int = 0) -> int: ...
    def write(self, data: Buffer, offset: int = 0, *, durable: bool = False) -> int: ...
    def zero(self, offset: int, length: int, *, durable: bool = False) -> None: ...
    def trim(self, offset: int, length: int, *, durable: bool = False) -> None: ...
    def flush(self) -> None: ...
    def map(self, offset: int = 0, length: int | None = None) -> Iterator[Extent]: ...
    def raw(self) -> RawDisk: ...

class RawDisk(io.RawIOBase):
    def __init__(self, disk: Disk) -> None: ...
    def readinto(self, into: Buffer) -> int: ...
    def write(self, data: Buffer) -> int: ...

def version() -> str: ...
def open(path: Path, *, writable: bool = False, inspect: bool = False,
         format: Format | None = None, driver: Literal["blocking", "io_uring"] | None = None,
         direct: bool = False, open_parents: bool = True, parents: Iterable[Path] = (),
         raw_parent: Path | None = None, parent_dirs: Iterable[Path] = (),
         cross_device: bool = False, trusted_owners: Iterable[SupportsIndex] = (),
         max_depth: int | None = None) -> Disk: ...
def create(path: Path, size: int | None = None, *, type: Type = "dynamic",
           format: Format | None = None, block_size: int = 0, logical_sector_size: int = 0,
           physical_sector_size: int = 0, log_size: int = 0, parent: Path | None = None,
           azure: bool = False, no_sparse: bool = False, overwrite: bool = False,
           open_parents: bool = True, parents: Iterable[Path] = (), raw_parent: Path | None = None,
           parent_dirs: Iterable[Path] = (), cross_device: bool = False,
           trusted_owners: Iterable[SupportsIndex] = (), max_depth: int | None = None) -> None: ...
def convert(source: Path, target: Path, *, source_format: Format | None = None,
            format: Format | None = None, type: Type | None = None, size: int | None = None,
            block_size: int = 0, logical_sector_size: int = 0, physical_sector_size: int = 0,
            log_size: int = 0, azure: bool = False, no_sparse: bool = False,
            overwrite: bool = False, offset: int = 0, length: int | None = None,
            reflink: bool = True, direct: bool = True, progress: Progress | None = None,
            open_parents: bool = True, parents: Iterable[Path] = (),
            raw_parent: Path | None = None, parent_dirs: Iterable[Path] = (),
            cross_device: bool = False, trusted_owners: Iterable[SupportsIndex] = (),
            max_depth: int | None = None) -> ConvertResult: ...
def check(path: Path, *, chain: bool = False, azure: bool = False,
          progress: Progress | None = None, open_parents: bool = True,
          parents: Iterable[Path] = (), raw_parent: Path | None = None,
          parent_dirs: Iterable[Path] = (), cross_device: bool = False,
          trusted_owners: Iterable[SupportsIndex] = (),
          max_depth: int | None = None) -> list[Finding]: ...
def checkpoints(image: Path) -> Checkpoints: ...
def create_checkpoint(image: Path, name: str | bytes | None = None) -> Checkpoints: ...
def apply_checkpoint(image: Path, which: str | bytes, *, discard: bool = False) -> Checkpoints: ...
def delete_checkpoint(image: Path, which: str | bytes, *,
                      progress: Progress | None = None) -> Checkpoints: ...
def rename_checkpoint(image: Path, which: str | bytes, name: str | bytes) -> Checkpoints: ...
