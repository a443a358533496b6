/// An operation that says what a test tells it to.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "io/io_command.hpp"

namespace openvhd::test {

/// Issues its commands in order, at most `window` of them in flight, and keeps their results.
/// Ends with the first error, after what is in flight has come back. With a gate it issues
/// nothing until the gate opens, as an operation that waits for another one.
class ScriptOp : public Operation {
 public:
  explicit ScriptOp(std::vector<IoCommand> commands, std::size_t window = 1);

  std::optional<IoCommand> next() noexcept override;
  void complete(std::uint32_t slot, std::int32_t result) noexcept override;
  std::optional<Status> finished() const noexcept override;

  std::function<bool()> gate;
  /// By command; kNoResult where none has come.
  static constexpr std::int32_t kNoResult = INT32_MIN;
  const std::vector<std::int32_t>& results() const { return results_; }
  std::size_t completed() const { return completed_; }

 private:
  std::vector<IoCommand> commands_;
  std::vector<std::int32_t> results_;
  std::size_t window_;
  std::size_t issued_ = 0;
  std::size_t completed_ = 0;
  std::int32_t failed_ = 0;
};

/// Commands on memory that the caller keeps; `piece` too.
IoCommand read_command(std::uint64_t at, const iovec& piece);
IoCommand write_command(std::uint64_t at, const iovec& piece);

}  // namespace openvhd::test
