/// What is behind a Disk.
#pragma once

#include <memory>
#include <mutex>
#include <openvhd/disk.hpp>
#include <openvhd/queue.hpp>

#include "image/chain.hpp"
#include "image/open.hpp"
#include "image/queue/job_operation.hpp"
#include "io/driver.hpp"
#include "io/file.hpp"
#include "io/readers.hpp"

namespace openvhd {
class ChainFinder;
class Owner;
}  // namespace openvhd

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
  static DiskState& of(const Disk& disk) noexcept { return *disk.state_; }
  static std::shared_ptr<DiskState> shared(const Disk& disk) noexcept { return disk.state_; }
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
  /// Errors also: busy while queues are open.
  Status close() noexcept;
  /// Lets go of the files as a process that is killed does: nothing more is written.
  void abandon() noexcept;
  Result<MapEntry> map(VirtualOffset at, std::uint64_t length) noexcept;
  Result<DiskInfo> info(bool count_blocks);
  ImageStatistics statistics() noexcept;
  /// Cuts a data entry where the host knows that nothing was written: that part becomes zero.
  void refine_hole(MapEntry& entry) noexcept;

  // For queues. From the first one on, the chain belongs to a thread of its own, and every call
  // above goes through it.

  /// A slot for a queue's look-ups. Errors: busy, io, unsupported. Any thread.
  Result<Readers::Slot*> join_queue();
  void leave_queue(Readers::Slot& slot) noexcept;
  Owner& owner() noexcept { return *owner_; }
  /// While nobody may be joining.
  bool has_owner() const noexcept { return owner_ != nullptr; }
  ChainFinder& finder() noexcept { return *finder_; }

 private:
  /// Runs `job` here, or has the owner run it.
  Status run(Job& job) noexcept;
  Status start_owner();
  /// Runs `question` where layers may be asked, and waits for it.
  template <class Question>
  void ask_owner(Question question) noexcept;
  Result<DiskInfo> info_here(bool count_blocks);
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
  std::unique_ptr<Driver> driver_;  // made when first used, until there is an owner
  bool closed_ = false;

  CommandCounts counts_;
  Readers readers_;
  std::unique_ptr<ChainFinder> finder_;
  std::unique_ptr<Owner> owner_;
  std::mutex joining_;  // of what follows, and of making the owner
  std::uint32_t queues_ = 0;
};

}  // namespace openvhd::detail
