/// One side of a copy or a comparison: a disk in files, an NBD export, a stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <optional>

#include "io/readiness.hpp"

namespace openvhd {

/// A transfer between a buffer and a range of an endpoint. Its owner keeps it, and the buffer, in
/// place from Endpoint::start() until Endpoint::reap() gives it back.
struct Transfer {
  enum class Kind : std::uint8_t { read, write, zero };

  Kind kind{};
  VirtualOffset at{};
  std::uint64_t length = 0;
  std::byte* data = nullptr;     ///< Null for zero; not written through for write.
  std::optional<Error> failure;  ///< Set before it is given back.

  std::uint32_t owner = 0;   ///< The owner's, to find what this belongs to.
  std::uint64_t cookie = 0;  ///< The endpoint's while the transfer is on its way.
  Transfer* next = nullptr;  ///< Likewise.
};

/// First in, first out; links through Transfer::next and allocates nothing.
class TransferQueue {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  void push(Transfer& transfer) noexcept {
    transfer.next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = &transfer;
    last_ = &transfer;
  }
  Transfer* pop() noexcept {
    Transfer* const transfer = first_;
    if (transfer != nullptr) first_ = transfer->next;
    return transfer;
  }

 private:
  Transfer* first_ = nullptr;
  Transfer* last_ = nullptr;
};

/// A run of an endpoint that is all zeros by its metadata, or may be anything.
struct EndpointRun {
  std::uint64_t length = 0;  ///< Bytes, at least 1.
  bool zero = false;
};

/// What a target does with ranges that are to read as zeros.
enum class ZeroPolicy : std::uint8_t {
  leave,  ///< It reads as zeros wherever nothing was written: nothing to do.
  clear,  ///< Transfer::Kind::zero makes it so.
  write,  ///< They are written like data: streams, targets that must not be sparse.
};

struct EndpointTraits {
  std::uint64_t size = 0;       ///< Bytes; the furthest that a target may be written.
  std::uint32_t alignment = 1;  ///< Reads and writes start and end at its multiples (or at `size`).
  /// Bytes per read or write; reads may be longer by what alignment adds at both ends.
  std::uint64_t max_transfer = std::uint64_t{1} << 20;
  std::uint64_t max_zero = std::uint64_t{1} << 30;  ///< Bytes per zero.
  ZeroPolicy zeros = ZeroPolicy::clear;             ///< Targets only.
  bool ordered = false;  ///< Writes are to be started in ascending order.
};

/// One side of a copy. Used by one thread. Nothing blocks but map() and finish().
class Endpoint {
 public:
  Endpoint() = default;
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;
  virtual ~Endpoint() = default;

  virtual const EndpointTraits& traits() const noexcept = 0;

  /// What is known of the first bytes of [at, at+length); costs no read of data. The range lies
  /// inside the endpoint and is not empty.
  virtual Result<EndpointRun> map(VirtualOffset at, std::uint64_t length) noexcept = 0;

  /// Begins a transfer; what fails, fails in reap(). At most as many are on their way as the
  /// endpoint was opened for.
  virtual void start(Transfer& transfer) noexcept = 0;

  /// Moves what is on its way and gives back one that has finished, or null. Does not block.
  virtual Transfer* reap() noexcept = 0;

  /// What to wait for when reap() has nothing. No descriptor: reap() may have something already.
  virtual Readiness readiness() const noexcept = 0;

  /// Of a target, with nothing on its way: everything written is durable, the image closed.
  virtual Status finish() noexcept = 0;
};

}  // namespace openvhd
