// Images of both formats with changed bytes, judged and then used: what does not open breaks a
// rule, what breaks none opens and reads, and is as sound after it was written.
#include <algorithm>
#include <tuple>

#include "base/checked.hpp"
#include "fuzz/exercise.hpp"
#include "fuzz/images.hpp"
#include "support/fixed_host.hpp"
#include "vhd/disk.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kMostRead = 8 * kMiB;

std::vector<Finding> judged(const FuzzFormat& format, File& file) {
  std::vector<Finding> findings;
  demand(bool{format.check(file, findings)}, "check fails on a file that can be read");
  return findings;
}

void read_from_start(OpenedImage image) {
  if (image.layer->type() == DiskType::differencing) return;  // nobody answers for its parent
  std::vector<OpenedImage> images;
  images.push_back(std::move(image));
  Disk disk{std::move(images)};
  std::vector<std::byte> bytes(std::min(disk.size(), kMostRead));
  demand(bool{disk.read(0, bytes)}, "an image without errors cannot be read");
}

void judge_and_use(const FuzzFormat& format, const ChangedImage& changed) {
  const auto file = file_of(changed.contents, true);
  const auto store = file->store();
  const bool sound = !has_errors(judged(format, *file));
  const auto dumped = format.dump(*file);
  demand(dumped || dumped.error().code == Errc::unsupported,
         "dump fails on a file that can be read");
  FixedHost host;
  auto image = format.open(file_of(changed.contents, false), false, host);
  demand(image || !sound, "an image without errors does not open");
  if (image && sound) read_from_start(*std::move(image));
  auto writable = format.open(std::make_unique<MemoryFile>(store), true, host);
  if (!writable || !sound) return;
  exercise(*std::move(writable), true);
  demand(!has_errors(judged(format, *file)), "an image has errors after it was used");
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd::test;
  InputReader input{{data, size}};
  const FuzzFormat& format = input.byte() % 2 == 0 ? fuzz_vhd() : fuzz_vhdx();
  const ChangedImage changed = changed_image(format, input);
  judge_and_use(format, changed);
  return 0;
}
