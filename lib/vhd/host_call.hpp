/// One host command of a layer on its way, continued where a transfer comes back short.
#pragma once

#include <optional>
#include <span>

#include "io/file.hpp"
#include "io/io_command.hpp"

namespace openvhd::vhd {

/// idle -> (start) ready -> (issue) in flight -> (completed) done or failed -> (reset) idle.
class HostCall {
 public:
  bool idle() const noexcept { return state_ == State::idle; }
  bool done() const noexcept { return state_ == State::done; }
  bool failed() const noexcept { return state_ == State::failed; }
  bool busy() const noexcept { return state_ == State::ready || state_ == State::in_flight; }
  const Error& error() const noexcept { return error_; }
  void reset() noexcept { state_ = State::idle; }

  /// `what` is the literal of the error that a failure becomes. Memory is borrowed until done.
  void read(FileOffset at, std::span<std::byte> into, const char* what) noexcept;
  void write(FileOffset at, std::span<const std::byte> from, const char* what) noexcept;
  void run(IoCommand::Kind kind, FileOffset at, std::uint64_t length, const char* what) noexcept;

  /// The command to execute; empty while one is in flight, or when there is none.
  std::optional<IoCommand> issue(std::uint64_t token) noexcept;
  void completed(std::int32_t result) noexcept;

 private:
  enum class State : std::uint8_t { idle, ready, in_flight, done, failed };

  void start(IoCommand::Kind kind, FileOffset at, std::uint64_t length, const char* what) noexcept;
  void fail(Error error) noexcept;
  bool transfers() const noexcept {
    return kind_ == IoCommand::Kind::read || kind_ == IoCommand::Kind::write;
  }

  State state_ = State::idle;
  IoCommand::Kind kind_{};
  FileOffset at_{};
  std::uint64_t length_ = 0;
  std::uint64_t moved_ = 0;
  std::byte* memory_ = nullptr;
  iovec piece_{};
  const char* what_ = "";
  Error error_{};
};

}  // namespace openvhd::vhd
