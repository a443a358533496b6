/// What is behind a Disk.
#pragma once

#include <memory>
#include <openvhd/disk.hpp>

#include "image/chain.hpp"
#include "image/open.hpp"
#include "io/driver.hpp"
#include "io/file.hpp"

namespace openvhd::detail {

class DiskState {
 public:
  static Result<std::unique_ptr<DiskState>> open(const std::string& path,
                                                 const OpenOptions& options, Host& host);
  explicit DiskState(OpenedChain opened, Access access, DriverKind driver);
  ~DiskState();
  DiskState(const DiskState&) = delete;
  DiskState& operator=(const DiskState&) = delete;

  /// The state behind a disk, for code of this room that drives operations itself.
  static DiskState& of(Disk& disk) noexcept { return *disk.state_; }
  static Disk wrap(std::unique_ptr<DiskState> state) noexcept { return Disk{std::move(state)}; }

  Chain& chain() noexcept { return chain_; }
  const Geometry& geometry() const noexcept { return chain_.geometry(); }
  /// By layer, as commands name them.
  std::span<File* const> files() const noexcept { return files_; }
  ImageLayer& image(std::size_t index) noexcept { return *opened_.images[index].layer; }
  Format format() const noexcept { return opened_.format; }
  bool writable() const noexcept { return access_ == Access::read_write; }
  const std::vector<std::string>& paths() const noexcept { return opened_.paths; }
  DriverKind driver() const noexcept { return driver_kind_; }

  Status read(VirtualOffset at, std::span<std::byte> into) noexcept;
  Status write(VirtualOffset at, std::span<const std::byte> from) noexcept;
  Status clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept;
  Status flush() noexcept;
  Status close() noexcept;
  /// Lets go of the files as a process that is killed does: nothing more is written.
  void abandon() noexcept { closed_ = true; }
  Result<MapEntry> map(VirtualOffset at, std::uint64_t length) noexcept;
  Result<DiskInfo> info(bool count_blocks);
  /// Cuts a data entry where the host knows that nothing was written: that part becomes zero.
  void refine_hole(MapEntry& entry) noexcept;

 private:
  Status run(Operation& operation) noexcept;
  Status check_range(VirtualOffset at, std::uint64_t length, bool writing) const noexcept;
  Status read_sectors(VirtualOffset at, std::span<std::byte> into) noexcept;
  Status write_sectors(VirtualOffset at, std::span<const std::byte> from) noexcept;
  /// Reads the sector around [at, at + from.size()), which lies inside it, and writes it changed.
  Status patch_sector(VirtualOffset at, std::span<const std::byte> from) noexcept;
  OpenedChain opened_;
  std::vector<File*> files_;
  Chain chain_;
  Access access_;
  DriverKind driver_kind_;
  std::unique_ptr<Driver> driver_;  // made when first used
  bool closed_ = false;
};

}  // namespace openvhd::detail
