/// A direct-access block device (SBC-3). Missing: protection information, COMPARE AND WRITE, GET
/// LBA STATUS, VERIFY that compares; VERIFY without it only checks addresses.
#pragma once

#include <atomic>

#include "scsi_unit.hpp"

namespace openvhd::scsi {

struct DiskShape {
  std::uint64_t bytes = 0;             ///< A multiple of `logical_block`.
  std::uint32_t logical_block = 512;   ///< 512 or 4096.
  std::uint32_t physical_block = 512;  ///< At least `logical_block`.
  std::uint64_t allocation_unit = 0;   ///< Bytes that unmapping gives back at a time; 0: unknown.
  bool writable = false;
  bool thin = false;  ///< UNMAP is offered.
};

class ScsiDisk : public ScsiUnit {
 public:
  static constexpr std::uint32_t kMostExtents = 256;     ///< Of one UNMAP.
  static constexpr std::uint64_t kMostSame = 128 << 20;  ///< Bytes of one WRITE SAME.

  ScsiDisk(ScsiIdentity identity, const DiskShape& shape);

  /// The disk has another size now: the initiator is told. Thread: any.
  void resized(std::uint64_t bytes) noexcept;
  /// Writes are acknowledged before they are durable. An initiator may turn it off.
  bool write_cache() const noexcept { return write_cache_; }

 protected:
  Served serve(ScsiRequest& request) noexcept override;
  void inquiry(ScsiRequest& request) noexcept override;
  std::vector<std::uint8_t> product_data(std::uint8_t page) noexcept override;
  std::vector<Known> known() const override;

 private:
  struct Command {
    Known what;
    void (ScsiDisk::*run)(ScsiRequest&) noexcept;
  };
  static std::span<const Command> commands() noexcept;

  /// Where a command of 10, 12 or 16 bytes has its address and count.
  static ScsiRequest::Extent extent_of(const ScsiRequest& request) noexcept;
  void transfer(ScsiRequest& request, ScsiRequest::Extent extent, bool writing,
                bool durable) noexcept;
  void read6(ScsiRequest& request) noexcept;
  void write6(ScsiRequest& request) noexcept;
  void read(ScsiRequest& request) noexcept;
  void write(ScsiRequest& request) noexcept;
  void write_and_verify(ScsiRequest& request) noexcept;
  void verify(ScsiRequest& request) noexcept;
  void synchronize(ScsiRequest& request) noexcept;
  void accept(ScsiRequest& request) noexcept { end(request); }
  void read_capacity10(ScsiRequest& request) noexcept;
  void read_capacity16(ScsiRequest& request) noexcept;
  void unmap(ScsiRequest& request) noexcept;
  void write_same(ScsiRequest& request) noexcept;
  void mode_sense(ScsiRequest& request) noexcept;
  void mode_select(ScsiRequest& request) noexcept;

  static void unmap_next(ScsiRequest& request) noexcept;
  static void same_next(ScsiRequest& request) noexcept;
  bool takes_extent(ScsiRequest& request, ScsiRequest::Extent extent, bool writing) noexcept;
  bool select_page(std::span<const std::byte> page) noexcept;
  std::vector<std::uint8_t> mode_pages(std::uint8_t page, std::uint8_t control) const;
  std::vector<std::uint8_t> block_limits() const;

  std::uint64_t blocks() const noexcept { return bytes_ / shape_.logical_block; }

  DiskShape shape_;
  std::atomic<std::uint64_t> bytes_;
  std::atomic<bool> write_cache_ = true;
};

}  // namespace openvhd::scsi
