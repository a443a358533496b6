/// What a log makes of the file in the end: for each target the last word counts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <openvhd/error.hpp>
#include <span>
#include <vector>

#include "io/file.hpp"
#include "vhdx/log_format.hpp"

namespace openvhd::vhdx {

/// Collects descriptors in the order of the log, and gives the sectors that they replace and the
/// ranges that they zero. Memory: about 100 bytes for each sector that is replaced, 16 for each
/// zero descriptor, and the contents of at most `kept` sectors; what of a longer log is not kept
/// is read from it again, and must be what it was.
class LogChanges {
 public:
  /// 8 MiB of contents: the logs that are written by default have 1 MiB.
  static constexpr std::size_t kKeptSectors = 2048;

  explicit LogChanges(std::size_t kept = kKeptSectors) noexcept : most_kept_{kept} {}

  /// A sector that the log replaces.
  struct Sector {
    FileOffset data_at{};  ///< Its data sector, in the log.
    std::array<std::byte, 8> leading{};
    std::array<std::byte, 4> trailing{};
    std::uint32_t checksum = 0;          ///< CRC-32C of the data sector.
    std::unique_ptr<std::byte[]> bytes;  ///< What it stands for, where that is kept.
  };
  using Sectors = std::map<std::uint64_t, Sector>;  // by target

  /// A data descriptor, whose data sector is at `data_at`. Its contents follow.
  void replace(const LogDescriptor& descriptor, FileOffset data_at);
  /// The data sector at `data_at` of the descriptor for `target`.
  void fill(FileOffset target, FileOffset data_at, std::span<const std::byte> data_sector);
  /// A zero descriptor.
  void zero(FileOffset at, std::uint64_t length);
  /// No more changes come: from now on zeros() may be asked.
  void settle();

  /// What is replaced; wins over zeros().
  const Sectors& sectors() const noexcept { return sectors_; }
  /// Disjoint ranges that do not touch, sorted.
  std::span<const FileRange> zeros() const noexcept { return zeros_; }

  /// The kLogSectorBytes that `sector` of this stands for; `file` holds the log. Errors: io, and
  /// corrupt when the data sector is no longer what was collected (L07).
  static Status restore(const Sector& sector, File& file, std::span<std::byte> out) noexcept;

 private:
  std::size_t most_kept_;
  std::size_t kept_ = 0;
  Sectors sectors_;
  std::vector<FileRange> zeros_;
};

}  // namespace openvhd::vhdx
