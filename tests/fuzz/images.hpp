/// The images that fuzzed inputs change: made and used by the library, so that no seeds are needed
/// and small inputs reach far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <openvhd/check.hpp>
#include <openvhd/dump.hpp>
#include <openvhd/types.hpp>
#include <span>
#include <string>
#include <vector>

#include "fuzz/patches.hpp"
#include "io/host.hpp"
#include "io/image_layer.hpp"
#include "support/memory_file.hpp"

namespace openvhd::test {

/// One format as fuzz targets need it.
class FuzzFormat {
 public:
  virtual ~FuzzFormat() = default;

  /// Images of every kind, and what a crash leaves of some.
  virtual std::span<const std::shared_ptr<MemoryStore>> images() const = 0;
  /// Where changes begin: the structures of those images, then some payload.
  virtual std::vector<std::uint64_t> windows(const MemoryStore& image) const = 0;
  /// Makes the checksums right again, so that changes reach what lies behind them.
  virtual void seal(MemoryStore& image) const = 0;

  /// `host` is borrowed as long as the image.
  virtual Result<OpenedImage> open(std::unique_ptr<File> file, bool writable, Host& host) const = 0;
  virtual Status check(File& file, std::vector<Finding>& findings) const = 0;
  /// Errors: unsupported, where the file shows no sign of the format.
  virtual Result<DumpNode> dump(File& file) const = 0;
  virtual Status repair(File& file, std::vector<std::string>& actions) const = 0;
};

const FuzzFormat& fuzz_vhd();
const FuzzFormat& fuzz_vhdx();

/// Writes 8 KiB at each of these places of a new image and flushes; returns what a crash leaves
/// then. `image` is closed.
std::shared_ptr<MemoryStore> use(const FuzzFormat& format,
                                 const std::shared_ptr<MemoryStore>& image,
                                 std::initializer_list<std::uint64_t> places);

/// Most findings that are asked for.
inline constexpr std::size_t kFindings = 1000;

/// An image of `format` with changes: takes the number of the image, a byte of flags whose upper
/// three bits leave the checksums as they are when all are set, and changes until the input ends.
struct ChangedImage {
  MemoryStore contents;
  std::uint8_t flags = 0;  ///< The lower five bits are the target's.
};
ChangedImage changed_image(const FuzzFormat& format, InputReader& input);

/// Another file with these contents.
std::unique_ptr<MemoryFile> file_of(const MemoryStore& contents, bool writable);

bool has_errors(std::span<const Finding> findings);

/// Ends the process, with a reason, when `holds` is false.
void demand(bool holds, const char* what);

}  // namespace openvhd::test
