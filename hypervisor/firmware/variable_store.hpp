/// Where firmware's variables live: a copy of the distribution's empty store, in a file of the
/// user's or in memory alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>
#include <string>

#include "base/fd.hpp"
#include "memory/page_buffer.hpp"

namespace openvhd::vmm {

class VariableStore {
 public:
  /// `initial` alone: nothing outlives the process. Errors: unsupported (not whole pages),
  /// no_space.
  static Result<VariableStore> in_memory(std::span<const std::byte> initial);
  /// The file at `path`, which is made from `initial` where there is none. It is locked as long as
  /// the store lives. Errors: busy (another process has it), denied (it is one of the
  /// distribution's own files), unsupported (another size than `initial`), those of the host.
  static Result<VariableStore> open(const std::string& path, std::span<const std::byte> initial);

  std::span<std::byte> bytes() noexcept { return pages_.bytes(); }
  /// [offset, offset + length) of bytes() has changed. False, and said once on standard error: the
  /// host failed to write it.
  bool keep(std::uint64_t offset, std::uint64_t length) noexcept;
  /// What was kept survives a power cut. Errors: io.
  Status sync() noexcept;

 private:
  VariableStore(PageBuffer pages, Fd file) noexcept
      : pages_{std::move(pages)}, file_{std::move(file)} {}
  PageBuffer pages_;
  Fd file_;
  bool failed_ = false;
};

}  // namespace openvhd::vmm
