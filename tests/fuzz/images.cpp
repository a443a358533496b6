#include "fuzz/images.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "support/fixed_host.hpp"
#include "vhd/disk.hpp"

namespace openvhd::test {

std::shared_ptr<MemoryStore> use(const FuzzFormat& format,
                                 const std::shared_ptr<MemoryStore>& image,
                                 std::initializer_list<std::uint64_t> places) {
  FixedHost host;
  auto opened = format.open(std::make_unique<MemoryFile>(image), true, host);
  demand(bool{opened}, "a new image does not open");
  const bool complete = opened->layer->type() != DiskType::differencing;
  std::vector<OpenedImage> images;
  images.push_back(*std::move(opened));
  Disk disk{std::move(images), complete};
  const std::vector<std::byte> bytes(8192, std::byte{0xc3});
  for (const std::uint64_t at : places) demand(bool{disk.write(at, bytes)}, "write");
  demand(bool{disk.flush()}, "flush");
  auto crashed = std::make_shared<MemoryStore>(*image);
  demand(bool{disk.close()}, "close");
  return crashed;
}

ChangedImage changed_image(const FuzzFormat& format, InputReader& input) {
  const auto images = format.images();
  ChangedImage out{.contents = MemoryStore{*images[input.byte() % images.size()]}};
  const std::uint8_t flags = input.byte();
  const auto windows = format.windows(out.contents);
  apply_patches(input, out.contents, windows);
  // Seven times of eight: what is behind a checksum is more than the checksum.
  if (flags >> 5 != 7) format.seal(out.contents);
  out.flags = flags & 0x1f;
  return out;
}

std::unique_ptr<MemoryFile> file_of(const MemoryStore& contents, bool writable) {
  return std::make_unique<MemoryFile>(std::make_shared<MemoryStore>(contents),
                                      MemoryFile::Options{.writable = writable});
}

bool has_errors(std::span<const Finding> findings) {
  return std::ranges::any_of(findings,
                             [](const Finding& f) { return f.severity == Severity::error; });
}

void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

}  // namespace openvhd::test
