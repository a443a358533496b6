#include "support/script_op.hpp"

#include <utility>

#include "io/file.hpp"

namespace openvhd::test {

ScriptOp::ScriptOp(std::vector<IoCommand> commands, std::size_t window)
    : commands_{std::move(commands)}, results_(commands_.size(), kNoResult), window_{window} {}

std::optional<IoCommand> ScriptOp::next() noexcept {
  if (failed_ < 0 || issued_ == commands_.size() || issued_ - completed_ == window_)
    return std::nullopt;
  if (gate && !gate()) return std::nullopt;
  IoCommand command = commands_[issued_];
  command.slot = static_cast<std::uint32_t>(issued_++);
  return command;
}

void ScriptOp::complete(std::uint32_t slot, std::int32_t result) noexcept {
  results_[slot] = result;
  ++completed_;
  if (result < 0) failed_ = result;
}

std::optional<Status> ScriptOp::finished() const noexcept {
  if (completed_ != issued_) return std::nullopt;
  if (failed_ < 0) return Status{host_error(failed_, {}, "script")};
  if (issued_ == commands_.size()) return Status{Ok{}};
  return std::nullopt;
}

IoCommand read_command(std::uint64_t at, const iovec& piece) {
  return {
      .kind = IoCommand::Kind::read, .at = {at}, .length = piece.iov_len, .buffers = {&piece, 1}};
}

IoCommand write_command(std::uint64_t at, const iovec& piece) {
  return {
      .kind = IoCommand::Kind::write, .at = {at}, .length = piece.iov_len, .buffers = {&piece, 1}};
}

}  // namespace openvhd::test
