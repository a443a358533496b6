/// One command that the engine asks for itself, from handing it out to its last byte.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <vector>

#include "io/file.hpp"
#include "io/io_command.hpp"

namespace openvhd::vhdx {

/// Whose a command is: the upper bits of its token; the lower ones are an index.
enum class TokenKind : std::uint8_t { table_page = 1, space = 2, journal = 3, punch = 4 };

constexpr std::uint64_t make_token(TokenKind kind, std::uint64_t index) noexcept {
  return static_cast<std::uint64_t>(kind) << 56 | index;
}
constexpr TokenKind token_kind(std::uint64_t token) noexcept {
  return static_cast<TokenKind>(token >> 56);
}
constexpr std::uint64_t token_index(std::uint64_t token) noexcept {
  return token & ((std::uint64_t{1} << 56) - 1);
}

/// A transfer whose partial results are continued. `what` names it in messages.
class Transfer {
 public:
  enum class State : std::uint8_t { ready, in_flight, done, failed };

  /// A command that moves no bytes.
  Transfer(IoCommand::Kind kind, FileOffset at, std::uint64_t length, const char* what) noexcept
      : kind_{kind}, at_{at}, length_{length}, what_{what} {}
  /// A read or write of all of `buffers`, whose memory outlives the transfer.
  Transfer(IoCommand::Kind kind, FileOffset at, std::vector<iovec> buffers, bool durable,
           const char* what) noexcept
      : kind_{kind}, durable_{durable}, at_{at}, what_{what}, buffers_{std::move(buffers)} {
    for (const iovec& piece : buffers_) length_ += piece.iov_len;
  }

  State state() const noexcept { return state_; }
  const Error& error() const noexcept { return error_; }

  /// The command for what is left. The state is ready.
  IoCommand start(std::uint64_t token) noexcept;
  /// Its result. End of file in a read, and no progress in a write, are failures.
  void complete(std::int32_t result) noexcept;

 private:
  void skip(std::uint64_t bytes) noexcept;

  IoCommand::Kind kind_;
  State state_ = State::ready;
  bool durable_ = false;
  FileOffset at_;
  std::uint64_t length_ = 0;  // left
  const char* what_;
  std::vector<iovec> buffers_;
  std::size_t first_ = 0;  // buffers before it are done
  Error error_{};
};

}  // namespace openvhd::vhdx
