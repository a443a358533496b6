/// What the owner of an image's metadata is asked to do, by whatever thread.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <span>

namespace openvhd {

struct Job;

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
  enum class Kind : std::uint8_t { read, write, zero, trim, flush, close, map, call };

  Kind kind{};
  bool durable = false;  ///< write, zero: durable when it is done.
  VirtualOffset at{};
  std::uint64_t length = 0;               ///< zero, trim, map: bytes.
  std::span<const iovec> buffers{};       ///< read, write.
  MapEntry entry{};                       ///< map: the answer.
  void (*call)(Job&) noexcept = nullptr;  ///< call: runs between operations.
  void* context = nullptr;                ///< The caller's.

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
