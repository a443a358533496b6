/// Where the partitions of a disk are: MBR with logical ones, and GPT (UEFI 2.10, 5.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <span>
#include <vector>

namespace vhdtool {

struct Partition {
  std::uint32_t number = 0;  ///< As the kernel counts them: logical ones from 5.
  openvhd::VirtualOffset at{};
  std::uint64_t length = 0;  ///< Bytes, 1 sector at least, inside the disk.
};

struct PartitionTable {
  enum class Kind : std::uint8_t { none, mbr, gpt };
  Kind kind{};
  std::vector<Partition> partitions{};

  const Partition* find(std::uint32_t number) const noexcept;
};

/// What of a disk the table is read through.
struct TableSource {
  std::uint64_t size = 0;
  std::uint32_t sector = 512;
  std::function<openvhd::Status(openvhd::VirtualOffset, std::span<std::byte>)> read{};
};

/// Reads the table. A disk without one has a table of kind none. The backup of a GPT serves where
/// the first copy is damaged. Errors: corrupt (a partition outside the disk, both copies of a GPT
/// damaged, a chain of logical partitions without end; `where` is the place on the disk), and those
/// of `source.read`.
openvhd::Result<PartitionTable> read_partition_table(const TableSource& source);

}  // namespace vhdtool
