/// What an image is: sizes, ids, state. Filled by Disk::info().
#pragma once

#include <cstdint>
#include <openvhd/types.hpp>
#include <optional>
#include <string>
#include <vector>

namespace openvhd {

/// The shape of a virtual disk. Set at open; valid as long as the disk.
struct Geometry {
  std::uint64_t virtual_size = 0;            ///< Bytes, a multiple of the logical sector size.
  std::uint32_t logical_sector_size = 512;   ///< 512 or 4096.
  std::uint32_t physical_sector_size = 512;  ///< 512 or 4096.
  std::uint64_t block_size = 0;              ///< Bytes; 0 for raw and for fixed VHD.
};

/// How many blocks are in each state. Which fields count depends on the format.
struct BlockCounts {
  std::uint64_t total = 0;
  std::uint64_t not_present = 0;
  std::uint64_t undefined = 0;
  std::uint64_t zero = 0;
  std::uint64_t unmapped = 0;
  std::uint64_t fully_present = 0;
  std::uint64_t partially_present = 0;
  std::uint64_t bitmap_blocks = 0;  ///< VHDX: sector bitmap blocks present.
};

enum class LogState : std::uint8_t {
  none,   ///< The format has no log.
  clean,  ///< Empty.
  dirty,  ///< Holds entries that must be replayed; a read-only open shows them replayed.
};

/// One file of a chain.
struct LayerInfo {
  std::string path{};
  Format format{};
  DiskType type{};
  Geometry geometry{};
  std::uint64_t file_size = 0;
  std::uint64_t allocated_bytes = 0;  ///< On the host.
  std::string creator{};              ///< VHDX: the creator text; VHD: application and version.
  std::string creator_os{};           ///< VHD only.
  std::optional<Guid> identifier{};   ///< VHDX: page 83 id; VHD: unique id.
  std::optional<Guid> data_write_guid{};
  std::optional<Guid> file_write_guid{};
  std::optional<std::int64_t> created_unix{};  ///< VHD: its time stamp, in seconds since 1970.
  LogState log = LogState::none;
  std::uint64_t log_bytes = 0;
  std::uint64_t replayed_entries = 0;
  bool leave_blocks_allocated = false;
  bool saved_state = false;             ///< VHD only.
  std::optional<BlockCounts> blocks{};  ///< Empty where counting was not asked or cost too much.
  std::vector<std::string>
      parent_paths;  ///< As the locators have them, kind first: "relative_path: ..."
  std::optional<Guid> parent_linkage{};
  std::vector<std::string> notes{};  ///< Deviations that were tolerated, one line each.
};

struct DiskInfo {
  std::vector<LayerInfo> layers{};  ///< The leaf first.
  std::string driver{};             ///< "io_uring", "blocking".
};

}  // namespace openvhd
