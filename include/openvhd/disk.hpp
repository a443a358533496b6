/// The front of every format: a virtual disk, made of one file or a chain of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <openvhd/disk_info.hpp>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace openvhd {

/// What an open may do, and which lock it takes.
enum class Access : std::uint8_t {
  read_only,   ///< Shared reader lock; never writes, a dirty log is replayed in memory.
  read_write,  ///< Exclusive lock; a dirty log is replayed into the file.
  inspect,     ///< No lock, never writes; says in the report when somebody holds the image.
};

/// A parent that the operator names.
struct ParentFile {
  std::string path{};  ///< As the host has it.
  /// Set to Format::raw for a raw parent, which has no id to verify; otherwise the child's format.
  std::optional<Format> format{};
};

/// Which parents a differencing image may pull in. The image only proposes a name; see
/// docs/parents.md for the rules (RELIABILITY f.4).
struct ParentPolicy {
  /// Open parents at all. False: a differencing image opens alone, and ranges that its parent
  /// would answer fail to read (info, dump and check of one file need no parent).
  bool open_parents = true;
  /// Directories, beside the child's own, in which a parent may lie. Tried in order.
  std::vector<std::string> parent_dirs{};
  /// The parents themselves, nearest first. When given, locators are verified, never followed.
  std::vector<ParentFile> chain{};
  /// Allow a parent on another mount than its child.
  bool cross_device = false;
  /// Most files in a chain, the leaf included.
  std::uint32_t max_depth = 64;
  /// User ids, beside the child's own and root, to whom a parent may belong.
  std::vector<std::uint32_t> trusted_owners{};
};

/// What an open saw: filled as far as it got, also when it fails.
struct OpenReport {
  std::vector<std::string> files{};  ///< Paths by layer; Error::layer indexes it.
  std::vector<std::string> notes{};  ///< Replays, tolerated deviations, ignored parent paths.
};

/// How transfers are made.
enum class DriverKind : std::uint8_t {
  automatic,  ///< io_uring where the kernel allows it, else blocking.
  blocking,   ///< pread and pwrite.
  io_uring,   ///< Fails to open where it is forbidden.
};

/// How an image is opened.
struct OpenOptions {
  Access access = Access::read_only;  ///< See there.
  /// Empty: from the content. Raw is never guessed.
  std::optional<Format> format{};
  ParentPolicy parents{};  ///< See there.
  /// Transfers that are aligned avoid the page cache where the host file system allows.
  bool direct = false;
  DriverKind driver = DriverKind::automatic;  ///< See there.
  /// Most bytes of its tables and sector bitmaps that each file of the chain keeps in memory; about
  /// 1 MiB is the least. What a flush still has to write may exceed it for a while.
  std::uint64_t table_cache_bytes = std::uint64_t{64} << 20;
  /// Borrowed for the call; may be null.
  OpenReport* report = nullptr;
};

/// A run of the virtual disk that one answer covers.
struct MapEntry {
  /// Who answers for the bytes.
  enum class Kind : std::uint8_t {
    data,  ///< Stored at `host_offset` of file `layer`.
    zero,  ///< Zeros by the metadata of file `layer`.
    hole,  ///< Nobody stores it: reads as zeros.
  };
  VirtualOffset at{};        ///< Where it begins.
  std::uint64_t length = 0;  ///< Bytes.
  Kind kind{};               ///< What answers for all of it.
  std::uint32_t layer = 0;   ///< For data and zero: 0 is the leaf.
  FileOffset host_offset{};  ///< For data.

  friend bool operator==(const MapEntry&, const MapEntry&) = default;
};

struct ResizeOptions;
struct ResizeResult;
namespace detail {
class DiskState;
}

/// A virtual disk. Calls block. One thread at a time may use a disk; different disks are
/// independent. Byte ranges need no alignment: sectors that are written in part are read first.
/// Errors of all I/O calls: out_of_range (nothing done), io, corrupt, no_space (nothing
/// allocated), read_only, poisoned, fenced.
class Disk {
 public:
  /// Opens `path` and, for a differencing image, its parents. Errors: not_found, denied, busy
  /// (locked), corrupt, unsupported, mismatch (linkage), io. Nothing is written on failure.
  static Result<Disk> open(const std::string& path, const OpenOptions& options);

  /// The other one may only be destroyed or assigned to afterwards.
  Disk(Disk&&) noexcept;
  /// Likewise; what was here is closed.
  Disk& operator=(Disk&&) noexcept;
  /// Closes without reporting: call close() to know. Never writes after a failed sync.
  ~Disk();

  /// As it is now: resize() makes another one of it.
  Geometry geometry() const noexcept;
  /// Of the leaf.
  Format format() const noexcept;
  /// Of the leaf.
  DiskType type() const noexcept;
  /// Opened for writing.
  bool writable() const noexcept;
  /// Paths by layer, the leaf first.
  const std::vector<std::string>& files() const noexcept;

  /// All of `into`, or an error.
  Status read(VirtualOffset at, std::span<std::byte> into) noexcept;
  /// All of `from`; after an error each sector is as it was or as asked (RELIABILITY D1).
  Status write(VirtualOffset at, std::span<const std::byte> from) noexcept;
  /// The range reads as zeros; blocks that it covers whole give their space back.
  Status zero(VirtualOffset at, std::uint64_t length) noexcept;
  /// The range is no longer needed and reads as zeros; space goes back to the host.
  Status trim(VirtualOffset at, std::uint64_t length) noexcept;
  /// What completed before survives a power cut (RELIABILITY D2).
  Status flush() noexcept;
  /// Flushes, empties the log and releases locks. The disk answers nothing afterwards.
  Status close() noexcept;

  /// Gives the disk another size while queues go on: as resize(path), which says more, but what is
  /// decided on and changed is this disk. Requests wait for some syncs meanwhile, and until what
  /// has been started before is over; then all queues see the new size, at once, and requests
  /// beyond it fail as always. `parents` and `progress` of the options are not looked at; `fix_gpt`
  /// is for a disk that nobody uses.
  ///
  /// Errors also: read_only, invalid (`fix_gpt`), busy (layers are being changed; or a thread does
  /// not take back what its queue has completed, for seconds: this one must have nothing under
  /// way). After a failure the size is the old one or, where the host failed late, the new one.
  Result<ResizeResult> resize(const ResizeOptions& options) noexcept;

  /// What holds the bytes from `at`: one entry, as long as one answer reaches, at most `length`.
  Result<MapEntry> map(VirtualOffset at, std::uint64_t length) noexcept;

  /// Sizes, ids, state of each layer. Blocks are counted where `count_blocks` is set or where it
  /// reads at most 1 MiB of table.
  Result<DiskInfo> info(bool count_blocks) noexcept;

 private:
  friend class detail::DiskState;
  explicit Disk(std::shared_ptr<detail::DiskState> state) noexcept;
  std::shared_ptr<detail::DiskState> state_;
};

}  // namespace openvhd
