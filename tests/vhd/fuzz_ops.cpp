// A script of operations on a new image, with a power cut or a failing command in between. Each
// byte pair of the input is one operation; what a cut leaves must be old or new, sector by sector.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "support/memory_file.hpp"
#include "vhd/history.hpp"
#include "vhd/image_bytes.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint32_t kBlock = 8 * 1024;
constexpr std::uint64_t kBlocks = 24;
constexpr std::uint64_t kSectors = kBlocks * kBlock / 512;
constexpr std::size_t kMostOperations = 64;

Store new_image(DiskType type, bool narrow) {
  auto store = std::make_shared<MemoryStore>();
  MemoryFile file{store};
  FixedHost host{3};
  vhd::CreateSpec spec{.type = type,
                       .geometry = {.virtual_size = kBlocks * kBlock, .block_size = kBlock}};
  spec.parent_name = "p.vhd";
  spec.parent_relative = ".\\p.vhd";
  if (!vhd::create(file, spec, host)) std::abort();
  if (narrow) store->capacity = 256 * 1024;
  return store;
}

Store parent_image() {
  Bytes bytes;
  for (std::uint64_t s = 0; s < kSectors / 2; ++s) {
    const auto sector = History::sector_of(History::kParent, s);
    bytes.insert(bytes.end(), sector.begin(), sector.end());
  }
  const Bytes footer = footer_bytes({.type = 2, .size = bytes.size()});
  bytes.insert(bytes.end(), footer.begin(), footer.end());
  return store_of(bytes);
}

void operate(History& history, unsigned kind, std::uint64_t sector) {
  const std::uint64_t left = kSectors - sector;
  const std::uint64_t few = std::min<std::uint64_t>(left, 1 + kind / 8);
  const std::uint64_t block = kBlock / 512;
  switch (kind % 8) {
    case 0:
    case 1:
    case 2:
      (void)history.write(sector, few);
      break;
    case 3:
      (void)history.write(sector, std::min(left, block + few));
      break;
    case 4:
      (void)history.clear(sector, few, ClearKind::zero);
      break;
    case 5:
      (void)history.clear(sector / block * block, block, ClearKind::trim);
      break;
    default:
      (void)history.flush();
      break;
  }
}

void expect_sound(const std::string& wrong) {
  if (wrong.empty()) return;
  std::fprintf(stderr, "%s\n", wrong.c_str());
  std::abort();
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd;
  using namespace openvhd::test;
  if (size < 3) return 0;
  const unsigned shape = data[0];
  const bool child = (shape & 1) != 0;
  History history{new_image(child ? DiskType::differencing : DiskType::dynamic, (shape & 2) != 0),
                  child ? parent_image() : nullptr};
  const std::uint64_t failing = (shape & 4) != 0 ? data[1] : ~std::uint64_t{0};
  const std::int32_t code = (shape & 8) != 0 ? -EIO : -ENOSPC;
  history.open(
      [&](const IoCommand&, std::uint64_t number) { return number == failing ? code : 0; });
  const std::size_t operations = std::min((size - 2) / 2, kMostOperations);
  for (std::size_t i = 0; i < operations; ++i)
    operate(history, data[2 + 2 * i], data[3 + 2 * i] * kSectors / 256);
  if ((shape & 16) != 0) (void)history.close();
  // One cut, at a place that the input chooses; of the commands since the last sync, some.
  const std::size_t end = history.log().size() * data[size - 1] / 255;
  auto state = std::make_shared<MemoryStore>(history.before());
  state->capacity = MemoryStore::kMaxBytes;
  std::size_t synced = 0;
  for (std::size_t i = 0; i < end; ++i) {
    if (history.log()[i].kind == IoCommand::Kind::sync) synced = i;
  }
  for (std::size_t i = 0; i < end; ++i) {
    const bool kept = i < synced || (data[i % size] >> i % 8 & 1) != 0;
    if (kept) apply(*state, history.log()[i]);
  }
  expect_sound(history.judge(state, end));
  return 0;
}
