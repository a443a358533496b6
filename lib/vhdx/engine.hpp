/// The engine of an opened VHDX: block table, sector bitmaps, space, journal.
#pragma once

#include <memory>
#include <openvhd/error.hpp>

#include "io/file.hpp"
#include "io/host.hpp"
#include "io/image_layer.hpp"
#include "vhdx/image_state.hpp"

namespace openvhd::vhdx {

/// Makes the layer of a parsed image. `file` is the one that its commands will run on: where a
/// dirty log was replayed into an overlay, the overlay. `file` and `host` outlive the layer.
///
/// Blocks only to ask the file for its size and for the holes in its block table; table pages
/// are loaded by commands when they are first needed, and all that hold anything before the first
/// allocation. Reads no table entry and changes nothing: a writable layer that is never written
/// leaves the file as it is, byte for byte.
///
/// A writable layer needs an image whose log is empty (the header's LogGuid nil).
/// Errors: io, read_only (writable asked of a file opened read-only), invalid (log not empty),
/// unsupported (a file larger than kMaxSpaceBytes, which no 64 TiB disk needs).
Result<std::unique_ptr<ImageLayer>> make_engine(ParsedImage image, File& file,
                                                const LayerOpenOptions& options, Host& host);

}  // namespace openvhd::vhdx
