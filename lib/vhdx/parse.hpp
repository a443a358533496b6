/// Reading what lies at fixed places. Order matters: the header section says whether a log must
/// be replayed, and the log may rewrite everything else (L10).
#pragma once

#include <openvhd/error.hpp>

#include "io/file.hpp"
#include "vhdx/headers.hpp"
#include "vhdx/image_state.hpp"
#include "vhdx/judge.hpp"

namespace openvhd::vhdx {

/// Reads region tables and metadata of a file whose header section is `head` and whose log has
/// been replayed. An error means that `out` cannot be used; otherwise it can, and rules that are
/// broken are in `judge`.
Status parse_body(File& file, const ParsedHead& head, ParsedImage& out, Judge& judge);

/// parse_body() for who accepts no broken rule at all.
Result<ParsedImage> parse_strictly(File& file, const ParsedHead& head, Judge& judge);

}  // namespace openvhd::vhdx
