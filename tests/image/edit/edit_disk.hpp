/// A disk in memory whose files are changed while it is closed: what it reads as, before and after.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <openvhd/check.hpp>
#include <random>
#include <string>
#include <vector>

#include "image/disk_state.hpp"
#include "support/crash_states.hpp"
#include "support/fixed_host.hpp"
#include "support/memory_file.hpp"
#include "support/sim_file.hpp"

namespace openvhd::test {

struct EditShape {
  const char* name = "";
  Format format{};
  DiskType type{};
  std::uint64_t virtual_size = 0;
  std::uint64_t block_size = 0;  ///< 0 for fixed VHD.
  std::uint32_t sector = 512;
};

/// What a disk reads as: its size, and a sum of each 64 KiB that is not all zeros.
struct Contents {
  std::uint64_t size = 0;
  std::map<std::uint64_t, std::uint32_t> pieces{};

  /// The same bytes below `size`, whatever the sizes are.
  bool same_bytes(const Contents& other) const { return pieces == other.pieces; }
  friend bool operator==(const Contents&, const Contents&) = default;
};

class EditDisk {
 public:
  /// An empty disk; a differencing one over a parent whose first MiB, and last, hold data.
  explicit EditDisk(const EditShape& shape, std::uint64_t seed = 1);

  const std::shared_ptr<MemoryStore>& leaf() const { return stores_.front(); }
  /// The disk whose leaf is `leaf`, with the parents of this one. Ends the test program where it
  /// does not open, unless `why` is given.
  std::unique_ptr<detail::DiskState> open(const std::shared_ptr<MemoryStore>& leaf, bool writable,
                                          std::string* why = nullptr);
  /// Random writes, zeros and trims; closes the disk afterwards.
  void scribble(std::mt19937_64& random, unsigned operations);
  void write(std::uint64_t at, const std::vector<std::byte>& bytes);
  void clear(std::uint64_t at, std::uint64_t length, ClearKind kind);
  Contents contents(const std::shared_ptr<MemoryStore>& leaf);
  Contents contents() { return contents(leaf()); }

  Host& host() { return host_; }
  const EditShape& shape() const { return shape_; }
  /// The size in the leaf, which a resize changes.
  std::uint64_t size();

 private:
  EditShape shape_;
  FixedHost host_;
  std::vector<std::shared_ptr<MemoryStore>> stores_;  // the leaf first
};

/// Findings of a check, one line each; empty for a clean file. Where errors alone are asked for,
/// those that a repair mends are left out.
std::string findings_of(const std::shared_ptr<MemoryStore>& store, Format format,
                        Severity least = Severity::warning);

/// Cuts power at every command of `change`, which is done to the leaf: whatever a cut leaves must
/// open, break no rule, and be one of `allowed`; also after it was opened for writing. Empty when
/// all did.
std::string crash_everywhere(EditDisk& disk, const std::function<Status(File&)>& change,
                             const std::vector<Contents>& allowed, std::size_t budget);

/// Lets the n-th command of `change` fail, for every n: what is left must be one of `allowed`.
std::string fail_everywhere(EditDisk& disk, const std::function<Status(File&)>& change,
                            const std::vector<Contents>& allowed, int error);

}  // namespace openvhd::test
