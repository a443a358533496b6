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
  std::uint64_t total = 0;              ///< Payload blocks of the disk.
  std::uint64_t not_present = 0;        ///< Zeros, or the parent's.
  std::uint64_t undefined = 0;          ///< VHDX: of no content that anybody relies on.
  std::uint64_t zero = 0;               ///< VHDX: zeros by the table.
  std::uint64_t unmapped = 0;           ///< VHDX: given back by a trim.
  std::uint64_t fully_present = 0;      ///< Stored whole.
  std::uint64_t partially_present = 0;  ///< Of a child: some sectors here, others in the parent.
  std::uint64_t bitmap_blocks = 0;      ///< VHDX: sector bitmap blocks present.
};

/// What a log held when the image was opened.
enum class LogState : std::uint8_t {
  none,   ///< The format has no log.
  clean,  ///< Empty.
  dirty,  ///< Holds entries that must be replayed; a read-only open shows them replayed.
};

/// One file of a chain.
struct LayerInfo {
  std::string path{};                     ///< As it was opened.
  Format format{};                        ///< Of this file.
  DiskType type{};                        ///< Of this file.
  Geometry geometry{};                    ///< Of the disk that this file and those below it make.
  std::uint64_t file_size = 0;            ///< Bytes.
  std::uint64_t allocated_bytes = 0;      ///< On the host.
  std::string creator{};                  ///< VHDX: the creator text; VHD: application and version.
  std::string creator_os{};               ///< VHD only.
  std::optional<Guid> identifier{};       ///< VHDX: page 83 id; VHD: unique id.
  std::optional<Guid> data_write_guid{};  ///< VHDX: changes when the disk's content does.
  std::optional<Guid> file_write_guid{};  ///< VHDX: changes when the file does.
  std::optional<std::int64_t> created_unix{};  ///< VHD: its time stamp, in seconds since 1970.
  LogState log = LogState::none;               ///< When it was opened.
  std::uint64_t log_bytes = 0;                 ///< The length of the log.
  std::uint64_t replayed_entries = 0;          ///< Of the log, by this open.
  bool leave_blocks_allocated = false;         ///< VHDX: the file is to be treated as a fixed one.
  bool saved_state = false;                    ///< VHD only.
  std::optional<BlockCounts> blocks{};  ///< Empty where counting was not asked or cost too much.
  std::vector<std::string>
      parent_paths;  ///< As the locators have them, kind first: "relative_path: ..."
  std::optional<Guid> parent_linkage{};  ///< What the parent must be; empty without one.
  std::vector<std::string> notes{};      ///< Deviations that were tolerated, one line each.
};

/// All files of a chain.
struct DiskInfo {
  std::vector<LayerInfo> layers{};  ///< The leaf first.
  std::string driver{};             ///< "io_uring", "blocking".
};

}  // namespace openvhd
