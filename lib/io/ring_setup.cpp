#include "io/ring_setup.hpp"

#include <array>
#include <cerrno>

namespace openvhd {

int init_ring(io_uring* ring, std::uint32_t entries, std::uint32_t completions) noexcept {
  constexpr std::array kSetups = {
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      0U,
  };
  int result = -EINVAL;
  for (const unsigned flags : kSetups) {
    io_uring_params parameters{};
    parameters.flags = flags;
    if (completions > 2 * entries) {
      parameters.flags |= IORING_SETUP_CQSIZE;
      parameters.cq_entries = completions;
    }
    do {
      io_uring_params attempt = parameters;
      result = io_uring_queue_init_params(entries, ring, &attempt);
    } while (result == -EINTR);
    if (result != -EINVAL) return result;
  }
  return result;
}

const char* ring_refusal(int code) noexcept {
  switch (code) {
    case -ENOSYS:
      return "io_uring: this kernel has none";
    case -EPERM:
    case -EACCES:
      return "io_uring: forbidden here (kernel.io_uring_disabled, or a system call filter)";
    case -ENOMEM:
      return "io_uring: no memory for a ring, or a limit on locked memory";
    case -EMFILE:
    case -ENFILE:
      return "io_uring: too many open files";
    default:
      return "io_uring: the kernel refuses a ring";
  }
}

bool worth_executing(std::int32_t result) noexcept {
  return result == -EOPNOTSUPP || result == -EINVAL || result == -ENOSYS || result == -EAGAIN ||
         result == -EINTR || result == -ECANCELED;
}

}  // namespace openvhd
