/// What is behind a Disk.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <openvhd/disk.hpp>
#include <openvhd/queue.hpp>
#include <utility>

#include "image/chain.hpp"
#include "image/live/kept_file.hpp"
#include "image/open.hpp"
#include "image/queue/job_operation.hpp"
#include "io/driver.hpp"
#include "io/file.hpp"
#include "io/readers.hpp"

namespace openvhd {
class ChainFinder;
class Owner;
class WriteNotes;
}  // namespace openvhd

namespace openvhd::detail {

std::vector<File*> files_of(const OpenedChain& opened);
Chain chain_of(const OpenedChain& opened);

class DiskState {
 public:
  static Result<std::unique_ptr<DiskState>> open(const std::string& path,
                                                 const OpenOptions& options, Host& host);
  /// `host` is for what is opened later.
  explicit DiskState(OpenedChain opened, Access access, DriverKind driver,
                     Host& host = system_host());
  ~DiskState();
  DiskState(const DiskState&) = delete;
  DiskState& operator=(const DiskState&) = delete;

  /// The state behind a disk, for code of this room that drives operations itself.
  static DiskState& of(const Disk& disk) noexcept { return *disk.state_; }
  static std::shared_ptr<DiskState> shared(const Disk& disk) noexcept { return disk.state_; }
  static Disk wrap(std::unique_ptr<DiskState> state) noexcept { return Disk{std::move(state)}; }

  Chain& chain() noexcept { return chain_; }
  /// Of the leaf, as it is now. Any thread.
  Geometry geometry() const noexcept;
  DiskType type() const noexcept { return type_.load(std::memory_order_relaxed); }
  std::uint64_t virtual_size() const noexcept {
    return virtual_size_.load(std::memory_order_acquire);
  }
  /// By layer, as commands name them.
  const std::vector<File*>& files() const noexcept { return files_; }
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

  // Changes of the layers while all this goes on (live/).

  /// Odd while nobody may begin anything beside the owner. Another number than before: what was
  /// taken from layers(), or kept of what they said, may be something else by now. To be looked at
  /// inside a transfer of Readers, and again between a look at terms and keeping an answer.
  std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }
  /// How often layers have been replaced. Inside a transfer, in an even generation.
  std::uint64_t layer_changes() const noexcept { return layer_changes_; }
  /// Where writes are noted, if they are. As layer_changes().
  WriteNotes* write_notes() const noexcept { return notes_.get(); }

  /// Makes the owner now, for who works beside threads that may come later.
  Status ensure_owner();

  /// As long as it lives nobody else changes layers, and the disk does not close.
  class Change {
   public:
    explicit Change(DiskState& disk) noexcept : disk_{&disk} {}
    Change(Change&& other) noexcept : disk_{std::exchange(other.disk_, nullptr)} {}
    Change& operator=(Change&&) = delete;
    ~Change() {
      if (disk_ != nullptr) disk_->end_change();
    }

   private:
    DiskState* disk_;
  };
  /// Errors: busy (another change), invalid (closed), read_only.
  Result<Change> begin_change();

  /// Runs `action` while nobody else does anything with the layers: in the owner's thread, or,
  /// where there is none, in this one. Within it every call of this object that does I/O works at
  /// once. Errors: those of `action`; busy, with nothing done, when a queue's thread does not let
  /// go.
  using Action = std::function<Status()>;
  Status still(const Action& action);
  /// A sign of requests beside work in the background: another value, or true. Any thread.
  std::uint64_t requests_served() const noexcept;
  bool has_transfers() const noexcept { return readers_.any_transfer(); }
  /// Runs a job that makes room for others.
  Status run_in_background(Job& job) noexcept;
  /// Holds up changes of a range through the owner, or lets them go on. In ask().
  void hold_changes(VirtualOffset at, std::uint64_t length) noexcept;
  void release_changes() noexcept;
  /// Without an I/O stop: `question` runs between operations.
  void ask(const std::function<void()>& question) noexcept;

  // In still moments only.

  /// Leaves the leaf as a closed image, has `edit` change the file, and opens it again, whatever
  /// came of that. Where it does not open, the disk fails from now on.
  using Edit = std::function<Status(File& file)>;
  Status edit_leaf(const Edit& edit);
  /// A new leaf over the one that there is, which is only read from now on.
  void push_leaf(OpenedImage image, std::string path);
  /// A layer goes; the one below it holds all that is read of it.
  void drop_layer(std::size_t index);
  /// Another open of the same file takes the place of a parent.
  void replace_layer(std::size_t index, OpenedImage image);
  /// The leaf gets a new id with the next change, as if somebody else had it open from now on.
  Status renew_leaf();
  /// From now on the disk fails.
  void break_leaf(Error reason);
  void note_writes(std::shared_ptr<WriteNotes> notes) noexcept;
  /// The file of a layer, which may outlive the layer.
  std::shared_ptr<File> share_file(std::size_t index);

  /// Beside still moments: whether the leaf has been changed since it was opened. The owner's.
  bool leaf_was_written() noexcept {
    return opened_.images.front().layer->link_identity() != opened_.images.front().first_id;
  }
  const LayerOpenOptions& how() const noexcept { return opened_.how; }
  bool direct() const noexcept { return opened_.direct; }
  std::vector<std::string> paths_now() const;

 private:
  class Moment;
  void end_change() noexcept;
  void layers_changed();
  Status close_leaf() noexcept;
  Status reopen_leaf(const std::shared_ptr<File>& file);
  bool owner_is_elsewhere() const noexcept;
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
  Geometry shape_;  // of the leaf; the two that may change are those below
  std::atomic<std::uint64_t> virtual_size_;
  std::atomic<std::uint64_t> block_size_;
  std::atomic<DiskType> type_;
  Host* host_;

  alignas(64) std::atomic<std::uint64_t> generation_{0};
  std::uint64_t layer_changes_ = 0;
  std::shared_ptr<WriteNotes> notes_;
  mutable std::mutex naming_;  // of opened_.paths, beside whom changes them
  bool changing_ = false;      // under joining_

  CommandCounts counts_;
  Readers readers_;
  std::unique_ptr<ChainFinder> finder_;
  std::unique_ptr<Owner> owner_;
  std::recursive_mutex joining_;  // of what follows, and of making the owner
  std::uint32_t queues_ = 0;
};

}  // namespace openvhd::detail
