"""libopenvhd.so as ctypes sees it: the functions and structures of openvhd.h that are used here."""

import contextlib
import ctypes
import ctypes.util
import os
from ctypes import (CFUNCTYPE, POINTER, Structure, byref, c_char, c_char_p, c_int, c_int32,
                    c_int64, c_size_t, c_ssize_t, c_uint32, c_uint64, c_void_p, py_object)

# The version of the binary interface that the structures below are of.
SONAME = "libopenvhd.so.0.1"


class Error(OSError):
    """What failed, on one line: file, offset, structure and rule.

    errno is that of the host or the nearest to the reason, reason a short name: "corrupt",
    "not-found", "busy", "no-space", ...
    """

    def __init__(self, number, message, reason):
        super().__init__(number, message)
        self.reason = reason


class ParentPolicy(Structure):
    _fields_ = [("open_parents", c_int32), ("cross_device", c_int32), ("max_depth", c_uint32),
                ("chain_count", c_uint32), ("chain", POINTER(c_char_p)),
                ("chain_formats", POINTER(c_int)), ("dirs", POINTER(c_char_p)),
                ("dir_count", c_uint32), ("owner_count", c_uint32), ("owners", POINTER(c_uint32))]


class OpenOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("access", c_int), ("format", c_int), ("driver", c_int),
                ("direct", c_int32), ("parents", ParentPolicy)]


class CreateOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("format", c_int), ("type", c_int),
                ("virtual_size", c_uint64), ("block_size", c_uint64),
                ("logical_sector_size", c_uint32), ("physical_sector_size", c_uint32),
                ("log_size", c_uint64), ("parent", c_char_p), ("parents", ParentPolicy),
                ("azure", c_int32), ("no_sparse", c_int32), ("overwrite", c_int32)]


PROGRESS = CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64)


class ConvertOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("source", c_char_p), ("source_format", c_int),
                ("source_parents", ParentPolicy), ("target", c_char_p),
                ("create", POINTER(CreateOptions)), ("offset", c_uint64), ("length", c_uint64),
                ("reflink", c_int32), ("direct", c_int32), ("progress", PROGRESS),
                ("progress_context", c_void_p)]


class ConvertResult(Structure):
    _fields_ = [("struct_size", c_size_t), ("virtual_size", c_uint64), ("copied_bytes", c_uint64),
                ("cloned_bytes", c_uint64), ("skipped_bytes", c_uint64), ("zero_bytes", c_uint64)]


class CheckOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("chain", c_int32), ("azure", c_int32),
                ("parents", ParentPolicy), ("progress", PROGRESS), ("progress_context", c_void_p)]


class Finding(Structure):
    _fields_ = [("file", c_char_p), ("id", c_char_p), ("text", c_char_p), ("offset", c_uint64),
                ("severity", c_int), ("repairable", c_int32)]


class Checkpoint(Structure):
    _fields_ = [("id", c_char_p), ("name", c_char_p), ("file", c_char_p), ("parent", c_char_p),
                ("created_unix", c_int64), ("hidden", c_int32)]


class Geometry(Structure):
    _fields_ = [("struct_size", c_size_t), ("virtual_size", c_uint64), ("block_size", c_uint64),
                ("logical_sector_size", c_uint32), ("physical_sector_size", c_uint32),
                ("format", c_int), ("type", c_int), ("writable", c_int32), ("layers", c_uint32)]


class Layer(Structure):
    _fields_ = [("struct_size", c_size_t), ("virtual_size", c_uint64), ("block_size", c_uint64),
                ("file_size", c_uint64), ("allocated_bytes", c_uint64),
                ("replayed_entries", c_uint64), ("format", c_int), ("type", c_int), ("log", c_int),
                ("logical_sector_size", c_uint32), ("physical_sector_size", c_uint32),
                ("identifier", c_char * 40), ("data_write_guid", c_char * 40),
                ("parent_linkage", c_char * 40)]


class Extent(Structure):
    _fields_ = [("offset", c_uint64), ("length", c_uint64), ("host_offset", c_uint64),
                ("kind", c_int), ("layer", c_uint32)]


# Name: result, arguments. A result of c_int is an error number.
FUNCTIONS = {
    "ovhd_reason": (c_int, []),
    "ovhd_message": (c_char_p, []),
    "ovhd_reason_name": (c_char_p, [c_int]),
    "ovhd_version": (c_char_p, []),
    "ovhd_open_options_init": (None, [POINTER(OpenOptions), c_size_t]),
    "ovhd_open": (c_int, [c_char_p, POINTER(OpenOptions), POINTER(c_void_p)]),
    "ovhd_close": (c_int, [c_void_p]),
    "ovhd_get_geometry": (c_int, [c_void_p, POINTER(Geometry)]),
    "ovhd_layer_path": (c_char_p, [c_void_p, c_uint32]),
    "ovhd_get_layer": (c_int, [c_void_p, c_uint32, POINTER(Layer)]),
    "ovhd_read": (c_int, [c_void_p, c_void_p, c_size_t, c_uint64]),
    "ovhd_write": (c_int, [c_void_p, c_void_p, c_size_t, c_uint64, c_uint32]),
    "ovhd_zero": (c_int, [c_void_p, c_uint64, c_uint64, c_uint32]),
    "ovhd_trim": (c_int, [c_void_p, c_uint64, c_uint64, c_uint32]),
    "ovhd_flush": (c_int, [c_void_p]),
    "ovhd_map": (c_int, [c_void_p, c_uint64, c_uint64, POINTER(Extent)]),
    "ovhd_create_options_init": (None, [POINTER(CreateOptions), c_size_t]),
    "ovhd_create": (c_int, [c_char_p, POINTER(CreateOptions)]),
    "ovhd_convert_options_init": (None, [POINTER(ConvertOptions), c_size_t]),
    "ovhd_convert": (c_int, [POINTER(ConvertOptions), POINTER(ConvertResult)]),
    "ovhd_check_options_init": (None, [POINTER(CheckOptions), c_size_t]),
    "ovhd_check": (c_int, [c_char_p, POINTER(CheckOptions), POINTER(c_void_p)]),
    "ovhd_report_count": (c_size_t, [c_void_p]),
    "ovhd_report_finding": (c_int, [c_void_p, c_size_t, POINTER(Finding)]),
    "ovhd_report_worst": (c_int, [c_void_p]),
    "ovhd_report_free": (None, [c_void_p]),
    "ovhd_checkpoint_list": (c_int, [c_char_p, POINTER(c_void_p)]),
    "ovhd_checkpoint_create": (c_int, [c_char_p, c_char_p, POINTER(c_void_p)]),
    "ovhd_checkpoint_apply": (c_int, [c_char_p, c_char_p, c_int32, POINTER(c_void_p)]),
    "ovhd_checkpoint_delete": (c_int, [c_char_p, c_char_p, PROGRESS, c_void_p, POINTER(c_void_p)]),
    "ovhd_checkpoint_rename": (c_int, [c_char_p, c_char_p, c_char_p, POINTER(c_void_p)]),
    "ovhd_checkpoints_current": (c_char_p, [c_void_p]),
    "ovhd_checkpoints_current_parent": (c_char_p, [c_void_p]),
    "ovhd_checkpoints_count": (c_size_t, [c_void_p]),
    "ovhd_checkpoints_get": (c_int, [c_void_p, c_size_t, POINTER(Checkpoint)]),
    "ovhd_checkpoints_free": (None, [c_void_p]),
}


def load():
    name = os.environ.get("OPENVHD_LIBRARY") or ctypes.util.find_library("openvhd") or SONAME
    library = ctypes.CDLL(name)
    for function, (result, arguments) in FUNCTIONS.items():
        entry = getattr(library, function)
        entry.restype, entry.argtypes = result, arguments
    return library


library = load()


def check(result):
    """Raises what the call before it said, in this thread."""
    if result < 0:
        reason = library.ovhd_reason_name(library.ovhd_reason()).decode()
        raise Error(-result, library.ovhd_message().decode("utf-8", "replace"), reason)


def options_of(kind, init):
    options = kind()
    init(byref(options), ctypes.sizeof(options))
    return options


def strings(names):
    return (c_char_p * len(names))(*names)


def path_bytes(path):
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("a path with a null byte in it")
    return name


class _PyBuffer(Structure):
    _fields_ = [("buf", c_void_p), ("obj", py_object), ("len", c_ssize_t), ("itemsize", c_ssize_t),
                ("readonly", c_int), ("ndim", c_int), ("format", c_char_p), ("shape", c_void_p),
                ("strides", c_void_p), ("suboffsets", c_void_p), ("internal", c_void_p)]


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (py_object, POINTER(_PyBuffer), c_int)
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (POINTER(_PyBuffer),)
_release_buffer.restype = None
_SIMPLE, _WRITABLE = 0, 1


@contextlib.contextmanager
def buffer(thing, writable):
    """Address and length of anything with a contiguous buffer, without a copy."""
    view = _PyBuffer()
    _get_buffer(thing, byref(view), _WRITABLE if writable else _SIMPLE)
    try:
        yield view.buf, view.len
    finally:
        _release_buffer(byref(view))
