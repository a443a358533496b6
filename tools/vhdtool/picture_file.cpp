#include "picture_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "signals.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

constexpr int kAskEvery = 100;  // milliseconds between looks for a signal
constexpr mode_t kNewFileMode = 0666;

openvhd::Error failed(int reason) {
  return {
      .code = reason == ENOSPC || reason == EDQUOT ? openvhd::Errc::no_space : openvhd::Errc::io,
      .sys_errno = reason,
      .what = "the picture cannot be written"};
}

bool is_picture(int descriptor) {
  std::array<char, 4> start{};
  const auto got = ::pread(descriptor, start.data(), start.size(), 0);
  if (got < 0) return false;
  return got == 0 || std::string_view{start.data(), static_cast<std::size_t>(got)} == "<svg";
}

// The name behind symbolic links, which stay when a file is replaced.
std::string resolved(const std::string& path) {
  std::error_code problem;
  const auto target = std::filesystem::canonical(path, problem);
  return problem ? path : target.string();
}

}  // namespace

PictureFile::~PictureFile() {
  if (stream_ >= 0) ::close(stream_);
}

std::string PictureFile::open() {
  const auto name = printable(path_);
  struct stat about{};
  if (::stat(path_.c_str(), &about) != 0) {
    // A missing folder is found by who makes the file.
    return errno == ENOENT ? std::string{} : fmt::format("{} cannot be looked at", name);
  }
  const bool stream = S_ISFIFO(about.st_mode) || S_ISCHR(about.st_mode);
  if (!stream && !S_ISREG(about.st_mode)) return fmt::format("{} is not a file", name);
  // Without O_NONBLOCK the open of a pipe waits for its other end. What is there may have changed
  // since: only what is open counts.
  const int mode = stream ? O_WRONLY : O_RDONLY;
  const int descriptor = ::open(path_.c_str(), mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (descriptor < 0) {
    return errno == ENXIO ? fmt::format("nobody reads from {}", name)
                          : fmt::format("{} cannot be opened and stays as it is", name);
  }
  if (::fstat(descriptor, &about) == 0) {
    if (stream && (S_ISFIFO(about.st_mode) || ::isatty(descriptor) == 1)) {
      stream_ = descriptor;
      return {};
    }
    if (!stream && S_ISREG(about.st_mode) && is_picture(descriptor)) {
      ::close(descriptor);
      return {};
    }
  }
  ::close(descriptor);
  return fmt::format("{} is no picture and stays as it is", name);
}

openvhd::Status PictureFile::write(const std::string& text) {
  return stream_ >= 0 ? write_all(stream_, text) : replace(text);
}

openvhd::Status PictureFile::write_all(int descriptor, const std::string& text) const {
  for (std::size_t done = 0; done < text.size();) {
    if (interrupted())
      return openvhd::Error{.code = openvhd::Errc::cancelled, .what = "stopped on request"};
    const auto put = ::write(descriptor, text.data() + done, text.size() - done);
    if (put >= 0) {
      done += static_cast<std::size_t>(put);
    } else if (errno == EAGAIN) {
      pollfd room{.fd = descriptor, .events = POLLOUT, .revents = 0};
      ::poll(&room, 1, kAskEvery);
    } else if (errno != EINTR) {
      return failed(errno);
    }
  }
  return openvhd::Ok{};
}

openvhd::Status PictureFile::replace(const std::string& text) const {
  const auto target = resolved(path_);
  const auto temporary = fmt::format("{}.{}.tmp", target, ::getpid());
  const int descriptor =
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kNewFileMode);
  if (descriptor < 0) return failed(errno);
  auto status = write_all(descriptor, text);
  if (status && ::fsync(descriptor) != 0) status = failed(errno);
  if (::close(descriptor) != 0 && status) status = failed(errno);
  if (status && std::rename(temporary.c_str(), target.c_str()) != 0) status = failed(errno);
  if (!status) ::unlink(temporary.c_str());
  return status;
}

}  // namespace vhdtool
