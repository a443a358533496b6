/// Disks in a simulated directory: made, written, opened by what they say of their parents.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "snapshot/chain_files.hpp"
#include "snapshot/sim_store.hpp"
#include "support/fixed_host.hpp"

namespace openvhd::test {

using Contents = std::vector<std::byte>;

/// What an image of these tests is like: as small as the format has it.
struct Shape {
  Format format{};
  std::uint64_t size = 0;
  std::uint64_t block = 0;
  std::uint32_t sector = 512;  ///< Logical: 4096 with VHDX alone.
  /// Bytes that a merge moves between two notes.
  std::uint64_t milestone = snapshot::Workshop::kMilestoneBytes;
};
Shape small_shape(Format format, std::uint32_t sector = 512);

class SimChain {
 public:
  explicit SimChain(Shape shape) : SimChain{shape, std::make_shared<SimStore>()} {}
  SimChain(Shape shape, std::shared_ptr<SimStore> store)
      : shape_{shape}, store_{std::move(store)}, host_{seed_ += 2} {}

  SimStore& store() { return *store_; }
  const Shape& shape() const { return shape_; }
  snapshot::Workshop shop();

  std::string name(const std::string& stem) const;
  void create(const std::string& name, DiskType type = DiskType::dynamic);
  void create_child(const std::string& name, const std::string& parent, std::uint64_t size = 0);

  /// The chain from `name` up, found by its relative paths and verified (C01).
  Result<std::unique_ptr<detail::DiskState>> open(const std::string& name, bool writable);
  /// The names of the chain, from `name` up.
  Result<std::vector<std::string>> chain(const std::string& name);
  void write(const std::string& name, std::uint64_t at, std::span<const std::byte> bytes);
  void zero(const std::string& name, std::uint64_t at, std::uint64_t length);
  /// What the disk reads as.
  Result<Contents> read(const std::string& name);
  /// What a check of the file alone finds of errors, one line each.
  std::vector<std::string> errors_in(const std::string& name);

 private:
  Shape shape_;
  std::shared_ptr<SimStore> store_;
  // No id is ever used twice: a log must not match what an earlier life of the file left.
  static inline std::uint64_t seed_ = 0x9e3779b97f4a7c15;  // odd, as FixedHost makes it
  FixedHost host_;
};

}  // namespace openvhd::test
