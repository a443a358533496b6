// Logs made from the input: entries anywhere, of any shape, then damage to single bytes. Whatever
// comes of it, a replay in memory and one into the file must agree, a refusal must leave the file
// as it was, and what has been replayed must be clean.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/crc32c.hpp"
#include "base/stored.hpp"
#include "support/bytes.hpp"
#include "vhdx/image_builder.hpp"
#include "vhdx/load_support.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kM = kMegabyte;
constexpr std::uint64_t kSector = 4096;
constexpr std::size_t kLogStart = kM;

/// Takes numbers off the front of an input; zeros when it is used up.
class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : left_{bytes} {}
  bool empty() const { return left_.empty(); }
  std::uint64_t number(unsigned bytes) {
    std::uint64_t out = 0;
    for (; bytes != 0 && !left_.empty(); --bytes, left_ = left_.subspan(1)) {
      out = out << 8 | left_.front();
    }
    return out;
  }

 private:
  std::span<const std::uint8_t> left_;
};

// Mostly places that matter, with their neighbours.
std::uint64_t target(Input& input) {
  static constexpr std::array<std::uint64_t, 8> kPlaces{0,      196608, 262144, kLogStart,
                                                        2 * kM, 3 * kM, 4 * kM, 5 * kM};
  return kPlaces[input.number(1) % kPlaces.size()] + input.number(1) * kSector;
}

std::size_t add_entry(Input& input, std::vector<std::byte>& log, std::size_t at) {
  BuiltEntry entry;
  const std::uint64_t shape = input.number(1);
  entry.sequence = input.number(1) + (shape & 1 ? 0xffffffffu : 1u);
  entry.tail = static_cast<std::uint32_t>(input.number(1) * kSector);
  if (shape & 2) entry.tail = static_cast<std::uint32_t>(at);
  if (shape & 4) entry.last = (5 + input.number(1)) * kM;
  if (shape & 8) entry.flushed = input.number(1) * kM;
  if (shape & 16) entry.guid = "99999999-2222-4333-8444-555555555555";
  for (std::uint64_t n = input.number(1) % 8; n != 0; --n) {
    const std::uint64_t place = target(input);
    const std::uint64_t what = input.number(1);
    if (what & 1) {
      entry.writes.push_back({.at = place, .sector = sector_of(static_cast<int>(what))});
    } else {
      entry.writes.push_back({.at = place, .sector = {}, .zero_length = what / 8 * kSector});
    }
  }
  return put_entry(log, at, entry);
}

std::vector<std::byte> log_of(Input& input) {
  std::vector<std::byte> log(kM);
  std::size_t at = 0;
  for (std::uint64_t n = input.number(1) % 16; n != 0; --n) {
    if (input.number(1) & 1) at = input.number(1) * kSector;
    at = add_entry(input, log, at);
  }
  while (!input.empty()) {
    const std::size_t sector = input.number(1) * kSector;
    const std::size_t byte = input.number(2) % kSector;
    log[sector + byte] = static_cast<std::byte>(input.number(1));
    // Most of the damage reaches behind the checksum.
    if (input.number(1) % 8 == 7) continue;
    const std::span<std::byte> entry = std::span{log}.subspan(sector);
    const std::size_t length = openvhd::load<Le32>(entry.subspan(8));
    if (length < kSector || length > entry.size()) continue;
    openvhd::store(entry.subspan(4), Le32{crc32c_without(entry.first(length), 4)});
  }
  return log;
}

void demand(bool truth) {
  if (!truth) std::abort();
}

bool same_bytes(File& a, File& b, std::uint64_t from, std::uint64_t to) {
  std::vector<std::byte> left(256 * kSector);
  std::vector<std::byte> right(left.size());
  for (std::uint64_t at = from; at < to; at += left.size()) {
    const std::size_t length = std::min<std::uint64_t>(left.size(), to - at);
    demand(bool{a.read_exact({at}, std::span{left}.first(length), "")});
    demand(bool{b.read_exact({at}, std::span{right}.first(length), "")});
    if (std::memcmp(left.data(), right.data(), length) != 0) return false;
  }
  return true;
}

void exercise(const std::shared_ptr<MemoryStore>& store) {
  const auto untouched = std::make_shared<MemoryStore>(*store);
  const auto in_memory = load(store);
  const auto replayed = std::make_shared<MemoryStore>(*store);
  const auto into_file = load(replayed, true);
  demand(bool{in_memory} == bool{into_file});
  MemoryFile before{untouched};
  MemoryFile after{in_memory ? store : replayed};
  demand(store->size == untouched->size && same_bytes(before, after, 0, untouched->size));
  if (in_memory) {
    const std::uint64_t size = *in_memory->file->size();
    demand(size == replayed->size);
    // Everything but the headers, up to what a log from here can reach.
    demand(same_bytes(*in_memory->file, *into_file->file, 196608, std::min(size, 8 * kM)));
    const auto again = load(replayed, true);
    demand(bool{again} && !again->image.log_summary.was_dirty);
  }
  MemoryFile file{store};
  std::vector<Finding> findings;
  demand(bool{vhdx::check(file, findings, 100, nullptr)});
  const bool errors = std::ranges::any_of(
      findings, [](const Finding& finding) { return finding.severity == Severity::error; });
  demand(in_memory || errors);  // what is refused has a reason
  demand(bool{vhdx::dump(file, 20)});
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd::test;
  Input input{{data, size}};
  // Without payload, which only costs time here.
  static const auto base = [] {
    Image image;
    image.bat.clear();
    image.make_dirty({});
    return image.build();
  }();
  const auto store = std::make_shared<MemoryStore>(*base);
  const auto log = log_of(input);
  MemoryFile file{store};
  for (std::size_t at = 0; at < log.size(); at += kSector) {
    const auto sector = std::span{log}.subspan(at, kSector);
    static const auto zeros = sector_of(0);
    if (std::memcmp(sector.data(), zeros.data(), kSector) != 0) patch(file, kLogStart + at, sector);
  }
  exercise(store);
  return 0;
}
