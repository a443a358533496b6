/// Makes what completed durable; closes an image.
#pragma once

#include "image/chain.hpp"
#include "io/io_command.hpp"

namespace openvhd {

/// Layer::flush or Layer::close on the leaf of a chain, as an operation.
class FlushOp final : public Operation {
 public:
  enum class Kind : std::uint8_t { flush, close };

  FlushOp(Chain& chain, Kind kind) noexcept : leaf_{chain.leaf()}, kind_{kind} {}

  std::optional<IoCommand> next() noexcept override {
    if (pending_ || finished_) return std::nullopt;
    auto step = kind_ == Kind::flush ? leaf_.flush(ticket_) : leaf_.close(ticket_);
    if (auto* command = std::get_if<IoCommand>(&step)) {
      pending_ = true;
      token_ = command->token;
      command->layer = 0;
      command->slot = 0;
      return *command;
    }
    if (const auto* error = std::get_if<Error>(&step)) finished_ = Status{*error};
    if (std::holds_alternative<Ok>(step)) finished_ = Status{Ok{}};
    return std::nullopt;
  }

  void complete(std::uint32_t, std::int32_t result) noexcept override {
    pending_ = false;
    leaf_.complete(token_, result);
  }

  std::optional<Status> finished() const noexcept override {
    return pending_ ? std::nullopt : finished_;
  }

 private:
  Layer& leaf_;
  Kind kind_;
  FlushTicket ticket_{};
  bool pending_ = false;
  std::uint64_t token_ = 0;
  std::optional<Status> finished_;
};

}  // namespace openvhd
