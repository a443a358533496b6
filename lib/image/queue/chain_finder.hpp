/// Finds mapped ranges of a chain from any thread: who of the layers answers, and where.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "image/chain.hpp"

namespace openvhd {

/// What a look-up through a chain gave.
struct Found {
  Extent extent{};  ///< data or zero.
  std::uint32_t layer = 0;
};

/// Layer::find() through a chain, without a lock or an allocation. What the leaf does not hold is
/// answered by parents, which change in still moments only, from which on another finder answers:
/// so the answer for a whole granule of the disk is remembered, and a block is found in the 32nd
/// layer as fast as in the second. A granule that several extents share is remembered in pieces of
/// 4 KiB; what even those do not fit is looked up layer by layer each time.
class ChainFinder {
 public:
  /// For what a disk's queues remember together.
  static constexpr std::uint64_t kBytes = std::uint64_t{4} << 20;

  /// Borrows the chain. `cache_bytes` bounds what is remembered; nothing for a chain of one.
  ChainFinder(const Chain& chain, std::uint64_t cache_bytes);

  /// Where the first bytes of [at, at + length) are. False: the owner must be asked. Inside a
  /// look-up of Readers.
  bool find(VirtualOffset at, std::uint64_t length, Found& out) noexcept {
    if (!chain_.leaf().find(at, length, out.extent)) return false;
    if (out.extent.kind != Extent::Kind::absent) [[likely]] {
      out.layer = 0;
      return true;
    }
    return find_in_parents(at, out.extent.length, out);
  }

  /// A write that needs nothing but bytes of payload changed.
  bool find_writable(VirtualOffset at, std::uint64_t length, Extent& out) const noexcept {
    return chain_.leaf().find_writable(at, length, out);
  }

 private:
  /// Remembered answers for granules of one size, each in one word: a granule's answer goes to one
  /// place, where it may displace another's.
  class Memory {
   public:
    void open(unsigned granule_shift, std::uint64_t words);
    unsigned granule_shift() const noexcept { return granule_shift_; }
    enum class Answer : std::uint8_t { unknown, known, mixed };
    Answer look(std::uint64_t granule, Found& out) const noexcept;
    void keep(std::uint64_t granule, const Found& found) noexcept;
    void keep_mixed(std::uint64_t granule) noexcept;

   private:
    std::atomic<std::uint64_t>& word_of(std::uint64_t granule) const noexcept;
    std::optional<std::uint64_t> tag_of(std::uint64_t granule) const noexcept;
    unsigned granule_shift_ = 0;
    unsigned index_bits_ = 0;
    std::unique_ptr<std::atomic<std::uint64_t>[]> words_;
  };

  bool find_in_parents(VirtualOffset at, std::uint64_t length, Found& out) noexcept;
  bool remembered(Memory& memory, VirtualOffset at, std::uint64_t length, Found& out,
                  bool& mixed) noexcept;
  bool walk(VirtualOffset at, std::uint64_t length, Found& out) const noexcept;

  const Chain& chain_;
  Memory coarse_;
  Memory fine_;
};

}  // namespace openvhd
