#include "io/stream.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/try.hpp"
#include "io/file.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kLargestTransfer = std::size_t{1} << 30;
constexpr int kAskEveryMs = 100;

}  // namespace

bool Stream::is_whole_file() const noexcept {
  struct stat about{};
  return ::fstat(descriptor_, &about) == 0 && S_ISREG(about.st_mode) &&
         ::lseek(descriptor_, 0, SEEK_CUR) == 0;
}

bool Stream::is_terminal() const noexcept { return ::isatty(descriptor_) == 1; }

// Until a transfer moves something or says why not. Also needed without anybody to ask: who shares
// the other end may have made it non-blocking.
Status Stream::wait(short events) noexcept {
  for (;;) {
    if (progress_ != nullptr && !progress_->update(moved_, total_ != 0 ? total_ : moved_)) {
      return Error{.code = Errc::cancelled, .what = "stopped on request"};
    }
    pollfd end{.fd = descriptor_, .events = events, .revents = 0};
    const int ready = ::poll(&end, 1, progress_ != nullptr ? kAskEveryMs : -1);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return Ok{};
  }
}

Result<std::size_t> Stream::read_full(std::span<std::byte> into) noexcept {
  std::size_t done = 0;
  while (done < into.size()) {
    if (progress_ != nullptr) OVHD_CHECK(wait(POLLIN));
    const ssize_t got =
        ::read(descriptor_, into.data() + done, std::min(into.size() - done, kLargestTransfer));
    if (got == 0) break;
    if (got > 0) {
      done += static_cast<std::size_t>(got);
      moved_ += static_cast<std::size_t>(got);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      OVHD_CHECK(wait(POLLIN));
    } else if (errno != EINTR) {
      return host_error(-errno, {}, "read from standard input");
    }
  }
  return done;
}

Status Stream::write_all(std::span<const std::byte> from) noexcept {
  while (!from.empty()) {
    if (progress_ != nullptr) OVHD_CHECK(wait(POLLOUT));
    const ssize_t put = ::write(descriptor_, from.data(), std::min(from.size(), kLargestTransfer));
    if (put >= 0) {
      from = from.subspan(static_cast<std::size_t>(put));
      moved_ += static_cast<std::size_t>(put);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      OVHD_CHECK(wait(POLLOUT));
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
