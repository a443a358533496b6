/// What a disk controller needs of a disk: requests that complete later.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <span>
#include <string>

namespace openvhd::vmm {

/// The controller's, and in place until `done` has run; it may be used again then.
struct BlockRequest {
  enum class Kind : std::uint8_t { read, write, flush };
  Kind kind{};
  VirtualOffset at{};                ///< A multiple of 512.
  std::span<const iovec> buffers{};  ///< Whole sectors in total; stays until `done` has run.
  bool durable = false;              ///< write: on stable storage when it completes.
  /// Exactly once, with the machine's lock held; perhaps before submit() returns.
  void (*done)(BlockRequest&, Status) noexcept = nullptr;
};

struct BlockShape {
  std::uint64_t bytes = 0;  ///< A multiple of 512.
  std::uint32_t physical_sector = 512;
  bool writable = false;
  std::string serial;  ///< Printable ASCII, up to 20 characters.
};

class Block {
 public:
  virtual ~Block() = default;
  virtual const BlockShape& shape() const noexcept = 0;
  /// With the machine's lock held. Any failure comes through `done`.
  virtual void submit(BlockRequest& request) noexcept = 0;
};

}  // namespace openvhd::vmm
