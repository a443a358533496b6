#include "vhd/host_call.hpp"

#include <algorithm>

namespace openvhd::vhd {
namespace {

constexpr std::uint64_t kLargestTransfer = std::uint64_t{1} << 30;

}  // namespace

void HostCall::start(IoCommand::Kind kind, FileOffset at, std::uint64_t length,
                     const char* what) noexcept {
  kind_ = kind;
  at_ = at;
  length_ = length;
  moved_ = 0;
  what_ = what;
  state_ = State::ready;
}

void HostCall::read(FileOffset at, std::span<std::byte> into, const char* what) noexcept {
  start(IoCommand::Kind::read, at, into.size(), what);
  memory_ = into.data();
}

void HostCall::write(FileOffset at, std::span<const std::byte> from, const char* what) noexcept {
  start(IoCommand::Kind::write, at, from.size(), what);
  // iovec holds a mutable pointer; a write never writes through it.
  memory_ = const_cast<std::byte*>(from.data());
}

void HostCall::run(IoCommand::Kind kind, FileOffset at, std::uint64_t length,
                   const char* what) noexcept {
  start(kind, at, length, what);
}

std::optional<IoCommand> HostCall::issue(std::uint64_t token) noexcept {
  if (state_ != State::ready) return std::nullopt;
  state_ = State::in_flight;
  IoCommand command{.kind = kind_, .at = at_, .length = length_, .token = token};
  if (transfers()) {
    command.at = at_ + moved_;
    command.length = std::min(length_ - moved_, kLargestTransfer);
    piece_ = {memory_ + moved_, static_cast<std::size_t>(command.length)};
    command.buffers = {&piece_, 1};
  }
  return command;
}

void HostCall::completed(std::int32_t result) noexcept {
  if (result < 0) return fail(host_error(result, at_, what_));
  if (!transfers()) {
    state_ = State::done;
    return;
  }
  if (result == 0 && moved_ < length_) {
    if (kind_ == IoCommand::Kind::read)
      return fail({.code = Errc::corrupt, .where = at_ + moved_, .what = what_});
    return fail(host_error(0, at_ + moved_, what_));
  }
  moved_ += static_cast<std::uint64_t>(result);
  state_ = moved_ < length_ ? State::ready : State::done;
}

void HostCall::fail(Error error) noexcept {
  error_ = error;
  state_ = State::failed;
}

}  // namespace openvhd::vhd
