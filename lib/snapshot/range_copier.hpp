/// Copies ranges from one endpoint to another, exactly: what lies between them is not touched.
#pragma once

#include <cstdint>
#include <functional>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <vector>

#include "image/convert/buffers.hpp"
#include "image/convert/endpoint.hpp"
#include "image/convert/endpoint_masked.hpp"

namespace openvhd::snapshot {

/// Many transfers on their way, writes started in ascending order. The pipeline of a conversion
/// is not what a merge needs: it writes the zeros of short gaps with the data around them, and
/// where nothing is merged the target keeps what it has. Used by one thread.
class RangeCopier {
 public:
  /// Both are borrowed, opened for at least `depth` transfers each, or, where they are the same,
  /// for twice as many.
  RangeCopier(Endpoint& source, Endpoint& target, std::uint32_t depth);

  /// A range of whole sectors: to be copied, or to be made zero without looking at the source.
  struct Piece {
    VirtualOffset at{};
    std::uint64_t length = 0;  ///< 0: there is no more.
    bool zero = false;
  };
  /// Tells the next piece, in ascending order; asked while transfers are on their way.
  using Next = std::function<Result<Piece>()>;

  /// Returns when nothing is on its way any more. Errors: of `next` and of the endpoints.
  Status copy(const Next& next);
  Status copy(std::span<const DiskRange> ranges);
  std::uint64_t copied_bytes() const noexcept { return copied_; }
  std::uint64_t cleared_bytes() const noexcept { return cleared_; }

 private:
  static constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
  enum class State : std::uint8_t { idle, reading, ready, writing };
  struct Slot {
    State state = State::idle;
    bool zero = false;  // by the source's metadata
    std::span<std::byte> buffer;
    Transfer transfer;
  };

  Status prepare();
  bool fill(const Next& next);
  void start(Slot& slot);
  bool start_writes();
  bool reap(Endpoint& endpoint);
  void finished(Slot& slot);
  void wait();
  /// Slots are used in turn, so that the oldest one is the first to be written.
  Slot& oldest() noexcept { return slots_[first_ % slots_.size()]; }

  Endpoint& source_;
  Endpoint& target_;
  std::uint32_t depth_;
  AlignedBuffer memory_;
  std::vector<Slot> slots_;
  std::uint64_t first_ = 0;  // of the slots in use, in the order of the disk
  std::uint64_t next_ = 0;   // behind the last one
  std::uint64_t write_ = 0;  // the next to be written
  std::uint32_t reading_ = 0;
  std::uint32_t writing_ = 0;
  Piece piece_;  // what is left of the last one
  bool ended_ = false;
  std::uint64_t copied_ = 0;
  std::uint64_t cleared_ = 0;
  std::optional<Error> failure_;
};

}  // namespace openvhd::snapshot
