/// What the owner of an image's metadata is asked to do, by whatever thread.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <span>

namespace openvhd {

class Chain;
struct MovedBlock;
struct Job;

/// What is to be done while nothing else is: see Owner. In the owner's thread.
class StillMoment {
 public:
  /// From here on nobody begins anything beside the owner.
  virtual void begin() noexcept = 0;
  /// What others had begun is over.
  virtual bool quiet() noexcept = 0;
  virtual Status act() noexcept = 0;
  /// Everybody goes on; whether or not act() has run.
  virtual void end() noexcept = 0;

 protected:
  ~StillMoment() = default;
};

/// Whom a job goes back to.
class JobSink {
 public:
  /// The job is done, its status set; it is the sink's again. In the owner's thread.
  virtual void finished(Job& job) noexcept = 0;
  /// After one or several finished(): the time to wake whoever waits. In the owner's thread.
  virtual void ring() noexcept = 0;

 protected:
  ~JobSink() = default;
};

/// One request, described. Stays in place until it is finished.
struct Job {
  enum class Kind : std::uint8_t { read, write, zero, trim, flush, close, map, call, still, move };

  Kind kind{};
  bool background = false;  ///< Of work that makes room for others.
  bool durable = false;     ///< write, zero: durable when it is done.
  VirtualOffset at{};
  std::uint64_t length = 0;               ///< zero, trim, map: bytes.
  std::span<const iovec> buffers{};       ///< read, write.
  MapEntry entry{};                       ///< map: the answer.
  void (*call)(Job&) noexcept = nullptr;  ///< call: runs between operations.
  StillMoment* moment = nullptr;          ///< still: the status is act()'s, or busy.
  MovedBlock* moved = nullptr;            ///< move.
  /// The upper layers of the chain left away: what is left, and how many are not in it.
  Chain* chain = nullptr;
  std::uint32_t first_layer = 0;
  void* context = nullptr;  ///< The caller's.

  JobSink* sink = nullptr;
  Status status{Ok{}};
  Job* next = nullptr;  ///< Of the list that it is in, whoever's.
};

/// The list from its other end.
inline Job* reversed(Job* job) noexcept {
  Job* first = nullptr;
  while (job != nullptr) {
    Job* const next = job->next;
    job->next = first;
    first = job;
    job = next;
  }
  return first;
}

}  // namespace openvhd
