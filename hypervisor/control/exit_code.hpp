/// What vhdvmm exits with. The table is the one source of --help and of the documentation.
#pragma once

#include <array>
#include <openvhd/error.hpp>

namespace openvhd::vmm {

enum class ExitCode : int {
  ok = 0,
  missing = 1,
  refused = 2,
  usage = 3,
  not_found = 4,
  io = 5,
  no_space = 6,
  busy = 7,
  read_only = 8,
  guest_reset = 10,
  guest_panic = 11,
  guest_triple_fault = 12,
  guest_stuck = 13,
  cancelled = 130,
};

struct ExitCodeText {
  ExitCode code;
  const char* text;
};

// The numbers up to 8 and 130 are vhdtool's.
inline constexpr std::array kExitCodes = {
    ExitCodeText{ExitCode::ok, "run: the guest powered itself off. doctor: guests can run."},
    ExitCodeText{ExitCode::missing, "doctor: something that guests need is missing."},
    ExitCodeText{ExitCode::refused,
                 "A file is not what it should be, or is denied; or this host's "
                 "KVM lacks something."},
    ExitCodeText{ExitCode::usage,
                 "The arguments are wrong, contradict each other or are not "
                 "served."},
    ExitCodeText{ExitCode::not_found, "A file that was named is not there."},
    ExitCodeText{ExitCode::io, "The host failed a call."},
    ExitCodeText{ExitCode::no_space, "The host has no memory or no space left."},
    ExitCodeText{ExitCode::busy, "Another process holds an image."},
    ExitCodeText{ExitCode::read_only, "An image can only be read, and --disk asked for writing."},
    ExitCodeText{ExitCode::guest_reset, "run: the guest reset itself, with --exit-on reset."},
    ExitCodeText{ExitCode::guest_panic, "run: the guest reported a panic."},
    ExitCodeText{ExitCode::guest_triple_fault,
                 "run: a processor of the guest shut down (triple fault), with --exit-on reset."},
    ExitCodeText{ExitCode::guest_stuck,
                 "run: KVM could not carry out what the guest does; the message says what."},
    ExitCodeText{ExitCode::cancelled, "Stopped by SIGINT or SIGTERM."},
};

constexpr ExitCode exit_code(Errc code) noexcept {
  switch (code) {
    case Errc::corrupt:
    case Errc::unsupported:
    case Errc::mismatch:
    case Errc::denied:
      return ExitCode::refused;
    case Errc::out_of_range:
    case Errc::misaligned:
    case Errc::invalid:
      return ExitCode::usage;
    case Errc::not_found:
      return ExitCode::not_found;
    case Errc::no_space:
      return ExitCode::no_space;
    case Errc::busy:
      return ExitCode::busy;
    case Errc::read_only:
      return ExitCode::read_only;
    case Errc::cancelled:
      return ExitCode::cancelled;
    case Errc::io:
    case Errc::poisoned:
    case Errc::fenced:
      break;
  }
  return ExitCode::io;
}

}  // namespace openvhd::vmm
