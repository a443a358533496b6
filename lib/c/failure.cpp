#include "c/failure.hpp"

#include <array>
#include <cerrno>

namespace openvhd::c {
namespace {

struct Failure {
  ovhd_error_reason reason = OVHD_NO_ERROR;
  std::string text{};
  const char* literal = "";  // where there is no memory for a text
};
thread_local Failure last;

constexpr ovhd_error_reason reason_of(Errc code) noexcept {
  switch (code) {
    case Errc::io:
      return OVHD_IO;
    case Errc::corrupt:
      return OVHD_CORRUPT;
    case Errc::unsupported:
      return OVHD_UNSUPPORTED;
    case Errc::out_of_range:
      return OVHD_OUT_OF_RANGE;
    case Errc::misaligned:
      return OVHD_MISALIGNED;
    case Errc::read_only:
      return OVHD_READ_ONLY_DISK;
    case Errc::busy:
      return OVHD_BUSY;
    case Errc::no_space:
      return OVHD_NO_SPACE;
    case Errc::not_found:
      return OVHD_NOT_FOUND;
    case Errc::denied:
      return OVHD_DENIED;
    case Errc::mismatch:
      return OVHD_MISMATCH;
    case Errc::poisoned:
      return OVHD_POISONED;
    case Errc::fenced:
      return OVHD_FENCED;
    case Errc::invalid:
      return OVHD_INVALID;
    case Errc::cancelled:
      return OVHD_CANCELLED;
  }
  return OVHD_IO;
}

constexpr int errno_of(ovhd_error_reason reason) noexcept {
  switch (reason) {
    case OVHD_NO_ERROR:
      return 0;
    case OVHD_IO:
    case OVHD_POISONED:
      return EIO;
    case OVHD_CORRUPT:
      return EUCLEAN;
    case OVHD_UNSUPPORTED:
      return ENOTSUP;
    case OVHD_OUT_OF_RANGE:
      return ERANGE;
    case OVHD_MISALIGNED:
    case OVHD_INVALID:
      return EINVAL;
    case OVHD_READ_ONLY_DISK:
      return EROFS;
    case OVHD_BUSY:
      return EBUSY;
    case OVHD_NO_SPACE:
      return ENOSPC;
    case OVHD_NOT_FOUND:
      return ENOENT;
    case OVHD_DENIED:
      return EACCES;
    case OVHD_MISMATCH:
    case OVHD_FENCED:
      return ESTALE;
    case OVHD_CANCELLED:
      return ECANCELED;
  }
  return EIO;
}

constexpr std::array kCodes = {
    Errc::io,        Errc::corrupt,  Errc::unsupported, Errc::out_of_range, Errc::misaligned,
    Errc::read_only, Errc::busy,     Errc::no_space,    Errc::not_found,    Errc::denied,
    Errc::mismatch,  Errc::poisoned, Errc::fenced,      Errc::invalid,      Errc::cancelled};

}  // namespace

int number_of(const Error& error) noexcept {
  const bool host = error.code == Errc::io || error.sys_errno == EEXIST;
  if (host && error.sys_errno != 0) return -error.sys_errno;
  return -errno_of(reason_of(error.code));
}

int fail(const Error& error, const std::string& file) {
  last.reason = reason_of(error.code);
  last.literal = error.what;
  last.text.clear();
  last.text = describe(error, file);
  return number_of(error);
}

int fail(const Error& error, const OpenReport& report, const std::string& file) {
  return fail(error, error.layer < report.files.size() ? report.files[error.layer] : file);
}

int fail_argument(const char* what) noexcept {
  last.reason = OVHD_INVALID;
  last.text.clear();
  last.literal = what;
  return -EINVAL;
}

int fail_thrown() noexcept {
  last.reason = OVHD_IO;
  last.text.clear();
  last.literal = "no memory";
  return -ENOMEM;
}

}  // namespace openvhd::c

using openvhd::c::last;

extern "C" {

ovhd_error_reason ovhd_reason(void) { return last.reason; }

const char* ovhd_message(void) { return last.text.empty() ? last.literal : last.text.c_str(); }

const char* ovhd_reason_name(ovhd_error_reason reason) {
  if (reason == OVHD_NO_ERROR) return "none";
  for (const auto code : openvhd::c::kCodes) {
    if (openvhd::c::reason_of(code) == reason) return openvhd::to_string(code);
  }
  return "unknown";
}

const char* ovhd_version(void) { return OPENVHD_VERSION; }

}  // extern "C"
