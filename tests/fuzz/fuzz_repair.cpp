// Repairs images of both formats with changed bytes, behind an undo file: no repair makes an image
// worse or changes what a guest reads, and each can be taken back byte by byte.
#include <algorithm>
#include <optional>

#include "base/checked.hpp"
#include "fuzz/images.hpp"
#include "image/undo_file.hpp"
#include "support/fixed_host.hpp"
#include "vhd/disk.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kMostRead = kMiB + 64 * kKiB;  // from the start, and again at the end

/// The disk as far as it can be compared; empty where it does not open, or not alone.
std::optional<std::vector<std::byte>> contents_of(const FuzzFormat& format,
                                                  const MemoryStore& store) {
  FixedHost host;
  auto image = format.open(file_of(store, false), false, host);
  if (!image || image->layer->type() == DiskType::differencing) return std::nullopt;
  std::vector<OpenedImage> images;
  images.push_back(*std::move(image));
  Disk disk{std::move(images)};
  const std::uint64_t part = std::min(disk.size(), kMostRead);
  std::vector<std::byte> bytes(2 * part);
  if (!disk.read(0, std::span{bytes}.first(part))) return std::nullopt;
  const std::uint64_t last = align_down(disk.size() - part, std::uint64_t{4096});
  if (!disk.read(last, std::span{bytes}.last(part))) return std::nullopt;
  return bytes;
}

bool same_file(const MemoryStore& a, const MemoryStore& b) {
  if (a.size != b.size) return false;
  std::vector<std::byte> left(MemoryStore::kPageBytes);
  std::vector<std::byte> right(left.size());
  // What neither has data in is zeros in both.
  for (std::uint64_t at = 0; at < a.size;) {
    const FileRange in_a = a.next_data(at, a.size);
    const FileRange in_b = b.next_data(at, b.size);
    if (in_a.length == 0 && in_b.length == 0) return true;
    if (in_a.length == 0 || in_b.length == 0) {
      at = (in_a.length == 0 ? in_b : in_a).at.value;
    } else {
      at = std::min(in_a.at.value, in_b.at.value);
    }
    if (a.read(at, left) != b.read(at, right) || left != right) return false;
    at += left.size();
  }
  return true;
}

void repair_and_take_back(const FuzzFormat& format, const MemoryStore& before) {
  const auto contents = contents_of(format, before);
  std::vector<Finding> findings;
  demand(bool{format.check(*file_of(before, false), findings)}, "check fails");
  const bool sound = !has_errors(findings);

  const auto file = file_of(before, true);
  const auto undo = std::make_shared<MemoryStore>();
  auto recorder = UndoFile::make(*file, std::make_unique<MemoryFile>(undo));
  demand(bool{recorder}, "no undo file");
  std::vector<std::string> actions;
  const bool repaired = bool{format.repair(**recorder, actions)};
  demand(!repaired || bool{(*recorder)->seal()}, "the undo file is not sealed");
  demand(!contents || contents_of(format, *file->store()) == contents,
         "a repair changed what a guest reads");
  if (repaired && sound) {
    std::vector<Finding> after;
    demand(bool{format.check(*file, after)}, "check fails after a repair");
    demand(!has_errors(after), "a repair left errors where none were");
    demand(std::ranges::none_of(after, &Finding::repairable), "a repair left what can be repaired");
  }
  MemoryFile undo_file{undo};
  demand(bool{UndoFile::put_back(*file, undo_file)}, "a repair cannot be undone");
  demand(same_file(before, *file->store()), "undone, the image is not what it was");
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd::test;
  InputReader input{{data, size}};
  const FuzzFormat& format = input.byte() % 2 == 0 ? fuzz_vhd() : fuzz_vhdx();
  repair_and_take_back(format, changed_image(format, input).contents);
  return 0;
}
