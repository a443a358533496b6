/// Reads and judges everything of a VHD that lies at a known place: footers, dynamic header,
/// locators, batmap. The table and the blocks are left to who uses them.
#pragma once

#include <openvhd/check.hpp>
#include <optional>
#include <vector>

#include "io/image_layer.hpp"
#include "vhd/footer.hpp"
#include "vhd/layout.hpp"

namespace openvhd::vhd {

/// A footer as found at some place, judged only by its cookie and its checksum.
struct FooterSighting {
  FileOffset at{};
  std::size_t length = 0;  ///< 512, 511, or fewer where the file ends; the rest is zeros.
  Footer footer{};
  bool cookie = false;
  bool checksum = false;
  bool valid() const noexcept { return cookie && checksum; }
};

/// A run of the file that no block may touch.
struct Structure {
  const char* name = "";
  FileOffset at{};
  std::uint64_t length = 0;
  /// What it may have set aside for itself beyond `length`: not given to new blocks.
  std::uint64_t space = 0;
};

struct ParsedImage {
  std::uint64_t file_size = 0;
  FooterSighting end;                  ///< At the end of the file.
  std::optional<FooterSighting> copy;  ///< At its start; only looked for where it could count.

  Footer footer{};  ///< The one that counts.
  FileOffset footer_at{};
  /// True when `footer` ends the file, so that [footer_at, file_size) is it and nothing more.
  bool footer_at_end = false;
  /// Sparse kinds: the copy at 0 holds and says the same as `footer`.
  bool copy_is_current = false;
  DiskType type{};
  std::uint64_t virtual_size = 0;

  // Dynamic and differencing only.
  DynamicHeader header{};
  FileOffset header_at{};
  FileOffset table_at{};
  std::uint64_t table_bytes = 0;  ///< In whole sectors.
  std::uint32_t table_entries = 0;
  std::uint32_t blocks = 0;  ///< Entries that the disk's size uses.
  std::uint32_t block_size = 0;
  std::uint32_t bitmap_length = 0;
  bool lsb_first = false;
  bool has_batmap = false;
  std::vector<Structure> structures;
  /// Somebody's, though no rule protects it from blocks that are there already: data of locators
  /// that are not followed. No new block goes here.
  std::vector<FileRange> set_aside;
  ParentLink parent;

  /// What was tolerated.
  std::vector<Finding> findings;

  /// Bytes of the file that blocks may use: up to the footer, or all where it is missing.
  std::uint64_t data_limit() const noexcept { return footer_at_end ? footer_at.value : file_size; }
  std::uint64_t stride() const noexcept { return std::uint64_t{bitmap_length} + block_size; }
  /// All that new blocks keep clear of, in no order.
  std::vector<FileRange> kept_ranges() const;
};

/// Looks for a footer at `at`. Bytes past the end of the file count as zeros.
Result<FooterSighting> sight_footer(File& file, FileOffset at, std::size_t length);

/// A fixed disk's footer that does not end the file but stands where its own size says: in the
/// 4 MiB before the last that is data by the host's word, as where a volume holds the image (FORMAT
/// 94), or where power was lost while the file was made longer.
Result<std::optional<FooterSighting>> search_fixed_footer(File& file, std::uint64_t file_size);

/// Fills `out` as far as it gets. Errors: io, corrupt, unsupported; `what` names the invariant.
Status parse(File& file, ParsedImage& out);

/// Reads the locators of a differencing image into `out.parent`.
Status parse_parent(File& file, ParsedImage& out);

/// Error: read_only (opened for reading, saved state, an undo disk).
Status may_write(const File& file, const ParsedImage& image);

void add_finding(ParsedImage& out, const char* id, Severity severity, FileOffset at,
                 std::string text, bool repairable = false);

/// What info says of this file.
LayerInfo info_of(const ParsedImage& image);

/// The invariant that an error of this room names: "V03" out of "... (V03)"; "V01" otherwise.
const char* invariant_of(const Error& error) noexcept;

}  // namespace openvhd::vhd
