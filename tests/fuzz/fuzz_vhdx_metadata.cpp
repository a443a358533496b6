// Metadata tables and parent locators made from the input, item by item: judged with an answer,
// and a locator that is understood says the same when it is written again.
#include <algorithm>
#include <array>

#include "fuzz/images.hpp"
#include "support/bytes.hpp"
#include "vhdx/image_builder.hpp"
#include "vhdx/load_support.hpp"
#include "vhdx/locator.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

std::string text(InputReader& input) {
  static const std::array<std::string, 8> kTexts{
      "parent_linkage", "parent_linkage2",
      "relative_path",  "absolute_win32_path",
      "volume_path",    "{11111111-2222-4333-8444-555555555555}",
      ".\\parent.vhdx", "11111111-2222-4333-8444-555555555555"};
  const std::uint8_t which = input.byte();
  if (which % 16 < kTexts.size()) return kTexts[which % 16];
  std::string out;
  for (const std::byte b : input.bytes(which / 16)) out += static_cast<char>(b);
  return out;
}

std::vector<std::byte> locator(InputReader& input) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (unsigned left = input.byte() % 6; left != 0; --left) {
    std::string key = text(input);
    pairs.emplace_back(std::move(key), text(input));
  }
  auto item = locator_item(pairs);
  // Offsets, lengths, the count, and what the texts are.
  for (unsigned left = input.byte() % 4; left != 0; --left) {
    const std::size_t at = input.word() % item.size();
    item[at] = std::byte{input.byte()};
  }
  return item;
}

void round_trip(std::span<const std::byte> item) {
  vhdx::Judge judge;
  const auto decoded = vhdx::decode_locator(item, {0}, judge);
  demand(decoded || !judge.status(), "a locator is refused without a reason");
  if (!decoded) return;
  static_cast<void>(vhdx::parent_link_of(*decoded, {0}, judge));
  const auto encoded = vhdx::encode_locator(decoded->pairs);
  if (!encoded) return;  // unknown keys may hold what is no text, and values be empty
  vhdx::Judge again_judge;
  const auto again = vhdx::decode_locator(*encoded, {0}, again_judge);
  demand(bool{again}, "a locator that was written is not understood");
  const auto same = [](const vhdx::LocatorPair& a, const vhdx::LocatorPair& b) {
    return a.key == b.key && a.value == b.value;
  };
  demand(std::ranges::equal(again->pairs, decoded->pairs, same), "a locator says something else");
}

void change_item(InputReader& input, std::vector<BuiltItem>& items) {
  if (items.empty()) return;
  BuiltItem& item = items[input.byte() % items.size()];
  const std::uint8_t what = input.byte();
  const std::uint16_t value = input.word();
  switch (what % 6) {
    case 0:
      item.flags = value;
      break;
    case 1:
      item.offset = value * (what / 6u + 1u);
      break;
    case 2:
      item.length = value / 16u;
      break;
    case 3:
      item.value = input.bytes(what / 6u);
      break;
    case 4:
      items.push_back(BuiltItem{item});
      break;
    default:
      items.erase(items.begin() + (&item - items.data()));
  }
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd;
  using namespace openvhd::test;
  InputReader input{{data, size}};
  Image image;
  const std::uint8_t flags = input.byte();
  if ((flags & 1) != 0) {
    image.add_parent({});
    BuiltItem& item = image.items.back();
    item.value = locator(input);
    item.length = static_cast<std::uint32_t>(item.value.size());
    round_trip(item.value);
  }
  for (unsigned left = input.byte() % 8; left != 0; --left) change_item(input, image.items);
  const auto store = image.build();
  const bool opens = bool{load(store)};
  MemoryFile file{store};
  std::vector<Finding> findings;
  demand(bool{vhdx::check(file, findings, kFindings, nullptr)}, "check fails");
  demand(opens || has_errors(findings), "an image without errors does not open");
  demand(bool{vhdx::dump(file, 100)}, "dump fails");
  return 0;
}
