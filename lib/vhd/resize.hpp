/// Changing the size of the disk in a VHD that is closed.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <vector>

#include "io/file.hpp"
#include "io/file_steps.hpp"
#include "vhd/parse.hpp"

namespace openvhd::vhd {

struct ResizePlan {
  std::vector<FileStep> steps{};  ///< For FileSteps; none where the size is that already.
  std::uint64_t file_bytes = 0;   ///< Size of the file before.
  bool table_moved = false;       ///< The table outgrew its place and gets another.
};

/// Plans to make the disk `virtual_bytes` long; reads the whole table, writes nothing. New bytes
/// read as zeros. What a smaller disk no longer reaches is lost.
///
/// There is no log, so the order is what keeps the disk: the footer at the end of the file is one
/// sector, and where it changes, the disk has its new size (C07). What both sizes can live with is
/// made first: a larger table (found by one sector of the header), a footer at another end of the
/// file. Original Size, unique id and time stamp stay; the geometry is computed anew, and where the
/// creator's name makes readers take that for the size, the name becomes that of
/// lib/vhd/create.hpp.
///
/// Errors: invalid (no multiple of 512, 0, over 2040 GiB, too many blocks), read_only, corrupt,
/// unsupported (bytes behind the footer of a fixed disk), io.
Result<ResizePlan> plan_resize(File& file, std::uint64_t virtual_bytes);

/// The same for a fixed disk that has been parsed.
Result<ResizePlan> plan_fixed_resize(File& file, const ParsedImage& image,
                                     std::uint64_t virtual_bytes);

/// `footer` for a disk of `virtual_bytes`, with its checksum.
Footer footer_for_size(Footer footer, std::uint64_t virtual_bytes);
std::vector<std::byte> bytes_of_footer(const Footer& footer);

}  // namespace openvhd::vhd
