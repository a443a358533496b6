// Undo files with changed bytes, put back onto an image that was used since or not: an answer, and
// a refusal that writes nothing. One that was not changed gives back the image.
#include <array>

#include "base/crc32c.hpp"
#include "base/stored.hpp"
#include "fuzz/images.hpp"
#include "image/undo_file.hpp"
#include "support/bytes.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kTargetBytes = 40'000;
constexpr std::uint64_t kPage = 4096;

/// Work on a file of kTargetBytes, recorded. Two bytes are one change.
void work(InputReader& input, File& recorder) {
  for (unsigned left = input.byte() % 8; left != 0; --left) {
    const std::uint8_t what = input.byte();
    const std::uint64_t at = std::uint64_t{input.byte()} * 200;
    const std::uint64_t length = std::uint64_t{what / 4u} * 150;
    switch (what % 4) {
      case 0:
      case 1:
        demand(bool{recorder.write_all({at}, filled(length, what))}, "write");
        break;
      case 2:
        demand(bool{recorder.zero({at}, length)}, "zero");
        break;
      default:
        demand(bool{recorder.set_size(at)}, "set_size");
    }
  }
}

void seal(MemoryStore& undo, std::uint64_t at, std::size_t covered) {
  std::vector<std::byte> bytes(covered);
  if (undo.read(at, bytes) != covered) return;
  const Le32 checksum{crc32c(bytes)};
  undo.write(at + covered, std::as_bytes(std::span{&checksum, 1}));
}

/// Checksums of the header, of the records and, where it follows them, of the seal.
void seal_all(MemoryStore& undo) {
  seal(undo, 0, 24);
  for (std::uint64_t at = kPage; at + kPage <= undo.size; at += 2 * kPage) {
    std::vector<std::byte> record(2 * kPage);
    const std::size_t got = undo.read(at, record);
    const std::uint32_t length = load<Le32>(std::span<const std::byte>{record}.subspan(8));
    if (got != record.size() || length > kPage) {
      seal(undo, at, 28);
      continue;
    }
    const std::span<const std::byte> all{record};
    const Le32 checksum{crc32c(all.subspan(kPage, length), crc32c(all.first(12)))};
    undo.write(at + 12, std::as_bytes(std::span{&checksum, 1}));
  }
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd;
  using namespace openvhd::test;
  InputReader input{{data, size}};
  MemoryFile target{pattern(kTargetBytes, 1)};
  const auto before = read_all(target);
  const auto undo = std::make_shared<MemoryStore>();
  const std::uint8_t flags = input.byte();
  {
    auto recorder = UndoFile::make(target, std::make_unique<MemoryFile>(undo));
    demand(bool{recorder}, "no undo file");
    work(input, **recorder);
    if ((flags & 1) != 0) demand(bool{(*recorder)->seal()}, "seal");
  }
  const bool used_since = (flags & 6) == 6 && target.store()->size > 300;
  if (used_since) patch(target, 200, {1, 2, 3});
  const bool changed = !input.empty();
  const std::array<std::uint64_t, 4> windows{0, kPage, 2 * kPage, 3 * kPage};
  apply_patches(input, *undo, windows);
  if (changed && flags >> 5 != 7) seal_all(*undo);

  const auto now = read_all(target);
  MemoryFile undo_file{undo};
  const Status done = UndoFile::put_back(target, undo_file);
  if (!changed && !used_since) demand(done && read_all(target) == before, "it was not put back");
  const bool refused = !done && done.error().code == Errc::mismatch;
  demand(!refused || read_all(target) == now, "a refusal wrote something");
  return 0;
}
