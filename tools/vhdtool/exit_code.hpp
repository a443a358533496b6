/// What vhdtool exits with. The table is the one source of the manual and of the tests.
#pragma once

#include <algorithm>
#include <array>
#include <openvhd/error.hpp>

namespace vhdtool {

enum class ExitCode : int {
  ok = 0,
  different = 1,
  refused = 2,
  usage = 3,
  not_found = 4,
  io = 5,
  no_space = 6,
  busy = 7,
  read_only = 8,
  cancelled = 130,
};

struct ExitCodeText {
  ExitCode code;
  const char* text;
};

inline constexpr std::array kExitCodes = {
    ExitCodeText{ExitCode::ok, "Done; what was compared is equal, what was checked is clean."},
    ExitCodeText{ExitCode::different,
                 "The work was done and its answer is no: compare found a difference, check found "
                 "warnings, io read something else than its pattern."},
    ExitCodeText{ExitCode::refused,
                 "An image is refused, with the rule that it breaks: corrupt, unsupported, not an "
                 "image, a parent that does not belong to it or that the policy denies. Also: "
                 "check found errors."},
    ExitCodeText{ExitCode::usage,
                 "The arguments are wrong or contradict each other; a range beyond the disk."},
    ExitCodeText{ExitCode::not_found, "A file, a parent or an export that was named is not there."},
    ExitCodeText{ExitCode::io,
                 "The host failed a read, write or sync, or another writer changed the image."},
    ExitCodeText{ExitCode::no_space, "The host file system is full."},
    ExitCodeText{ExitCode::busy, "Another process holds the image; trying later may work."},
    ExitCodeText{ExitCode::read_only, "A change was asked of what can only be read."},
    ExitCodeText{ExitCode::cancelled, "Stopped by SIGINT or SIGTERM."},
};

constexpr ExitCode exit_code(openvhd::Errc code) noexcept {
  switch (code) {
    case openvhd::Errc::corrupt:
    case openvhd::Errc::unsupported:
    case openvhd::Errc::mismatch:
    case openvhd::Errc::denied:
      return ExitCode::refused;
    case openvhd::Errc::out_of_range:
    case openvhd::Errc::misaligned:
    case openvhd::Errc::invalid:
      return ExitCode::usage;
    case openvhd::Errc::not_found:
      return ExitCode::not_found;
    case openvhd::Errc::no_space:
      return ExitCode::no_space;
    case openvhd::Errc::busy:
      return ExitCode::busy;
    case openvhd::Errc::read_only:
      return ExitCode::read_only;
    case openvhd::Errc::cancelled:
      return ExitCode::cancelled;
    case openvhd::Errc::io:
    case openvhd::Errc::poisoned:
    case openvhd::Errc::fenced:
      break;
  }
  return ExitCode::io;
}

/// Of several outcomes the one to exit with: the greatest number.
constexpr ExitCode worse(ExitCode a, ExitCode b) noexcept { return std::max(a, b); }

}  // namespace vhdtool
