/// Copies one endpoint to another with many transfers on their way, in bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <span>
#include <vector>

#include "image/convert/buffers.hpp"
#include "image/convert/endpoint.hpp"
#include "image/convert/run_cursor.hpp"
#include "image/convert/zero_scan.hpp"

namespace openvhd {

struct CopyPlan {
  VirtualOffset source_at{};     ///< Where the copied part of the source begins.
  std::uint64_t length = 0;      ///< Bytes to copy, to the start of the target.
  std::uint64_t total = 0;       ///< Bytes of the target to fill: zeros follow the copied part.
  std::uint32_t depth = 8;       ///< Reads, and writes, on their way at once: 1 to kMaxCopyDepth.
  Progress* progress = nullptr;  ///< Borrowed; may be null.
};

struct CopyCounts {
  std::uint64_t copied_bytes = 0;   ///< Read and written.
  std::uint64_t skipped_bytes = 0;  ///< Zero by the source's metadata, or behind its end.
  std::uint64_t zero_bytes = 0;     ///< Read and found zero.
};

inline constexpr std::uint32_t kMaxCopyDepth = 64;
inline constexpr std::size_t kCopyChunkBytes = std::size_t{1} << 20;

/// One copy. Memory: two chunks per depth. Reads run ahead of writes; where the target wants its
/// writes in order (so that it allocates in order, or because it is a stream) a chunk waits for
/// those before it. Ranges that the source knows to be zero are never read.
class CopyPipeline {
 public:
  CopyPipeline(Endpoint& source, Endpoint& target, const CopyPlan& plan);

  /// Copies everything and returns when nothing is on its way any more. Errors: of the
  /// endpoints, no_space among them; out_of_range when the plan does not fit them; cancelled.
  Result<CopyCounts> run();

  /// Whose error run() returned: the source's, or else the target's (or nobody's).
  bool source_failed() const noexcept { return source_failed_; }

 private:
  enum class State : std::uint8_t { idle, reading, ready, writing };
  struct Slot {
    State state = State::idle;
    bool read = false;           // its bytes came from the source: they are searched for zeros
    std::uint64_t sequence = 0;  // in the order of the target
    VirtualOffset at{};          // in the target
    std::size_t length = 0;
    std::size_t position = 0;  // up to here the target is done
    std::size_t moving = 0;    // bytes that the target is at work on
    std::size_t head = 0;      // bytes of the buffer before the first that was asked for
    std::span<std::byte> buffer;
    Transfer transfer;
  };

  Status check_plan() const noexcept;
  Status prepare();
  bool fill() noexcept;
  bool fill_one() noexcept;
  void begin_read(Slot& slot, std::uint64_t at, std::size_t length) noexcept;
  bool begin_zero(Slot& slot, std::uint64_t at, std::uint64_t length) noexcept;
  void read_done(Slot& slot) noexcept;
  bool write_ready() noexcept;
  void advance(Slot& slot) noexcept;
  void start(Slot& slot, std::size_t length, bool data) noexcept;
  void retire(Slot& slot) noexcept;
  bool reap(Endpoint& endpoint) noexcept;
  void fail(const Error& error, bool source = false) noexcept;
  void report() noexcept;
  void wait() noexcept;
  Slot* idle_slot() noexcept;
  Slot* oldest_ready() noexcept;

  Endpoint& source_;
  Endpoint& target_;
  CopyPlan plan_;
  ZeroGrain grain_;
  std::size_t chunk_;
  std::size_t slack_;  // bytes around a chunk that an unaligned source reads with it
  RunCursor cursor_;
  AlignedBuffer memory_;
  AlignedBuffer zeros_;  // one chunk, where zeros are written
  std::vector<Slot> slots_;
  std::uint64_t next_sequence_ = 0;
  std::uint64_t next_write_ = 0;
  std::uint32_t reading_ = 0;
  std::uint32_t writing_ = 0;
  std::uint64_t done_ = 0;
  CopyCounts counts_;
  std::optional<Error> failure_;
  bool source_failed_ = false;  // where failure_ is from
};

}  // namespace openvhd
