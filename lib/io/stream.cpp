#include "io/stream.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "io/file.hpp"
#include "io/readiness.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kLargestTransfer = std::size_t{1} << 30;

}  // namespace

bool Stream::is_whole_file() const noexcept {
  struct stat about{};
  return ::fstat(descriptor_, &about) == 0 && S_ISREG(about.st_mode) &&
         ::lseek(descriptor_, 0, SEEK_CUR) == 0;
}

bool Stream::is_terminal() const noexcept { return ::isatty(descriptor_) == 1; }

// Who shares the other end may have made it non-blocking.
void Stream::wait(short events) noexcept {
  wait_ready(std::array{Readiness{.descriptor = descriptor_, .events = events}}, -1);
}

Result<std::size_t> Stream::read_full(std::span<std::byte> into) noexcept {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got =
        ::read(descriptor_, into.data() + done, std::min(into.size() - done, kLargestTransfer));
    if (got == 0) break;
    if (got > 0) {
      done += static_cast<std::size_t>(got);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait(POLLIN);
    } else if (errno != EINTR) {
      return host_error(-errno, {}, "read from standard input");
    }
  }
  return done;
}

Status Stream::write_all(std::span<const std::byte> from) noexcept {
  while (!from.empty()) {
    const ssize_t put = ::write(descriptor_, from.data(), std::min(from.size(), kLargestTransfer));
    if (put >= 0) {
      from = from.subspan(static_cast<std::size_t>(put));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait(POLLOUT);
    } else if (errno != EINTR) {
      return host_error(-errno, {}, "write to standard output");
    }
  }
  return Ok{};
}

Status Stream::sync() noexcept {
  // Pipes and terminals have nothing to make durable.
  if (::fdatasync(descriptor_) == 0 || errno == EINVAL || errno == EROFS) return Ok{};
  return host_error(-errno, {}, "sync standard output");
}

}  // namespace openvhd
