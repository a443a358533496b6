// Merge records and catalogues of checkpoints with any bytes: an answer, and what is accepted is
// bounded, names plain files, and comes back from what is written of it.
#include <openvhd/checkpoint.hpp>
#include <set>
#include <string>
#include <string_view>

#include "fuzz/images.hpp"
#include "snapshot/catalogue.hpp"
#include "snapshot/merge_record.hpp"

namespace openvhd::test {
namespace {

void try_record(std::string_view text) {
  const auto record = snapshot::decode_record(text);
  if (!record) return;
  demand(!record->files.empty() && record->files.size() == record->ids.size(), "files and ids");
  const auto again = snapshot::decode_record(snapshot::encode(*record));
  demand(again && *again == *record, "a record that comes back");
}

void try_catalogue(std::string_view text) {
  const auto catalogue = snapshot::decode_catalogue(text);
  if (!catalogue) return;
  std::set<Guid> seen;
  const auto plain = [](const std::string& file) {
    demand(!file.empty() && file.find('/') == std::string::npos && file != "..", "a plain name");
  };
  plain(catalogue->current);
  for (const std::string& file : catalogue->trash) plain(file);
  for (const auto& node : catalogue->nodes) {
    plain(node.file);
    demand(!node.parent || seen.contains(*node.parent), "parents first");
    demand(seen.insert(node.id).second, "each once");
  }
  if (catalogue->merge) {
    plain(catalogue->merge->child);
    plain(catalogue->merge->target);
  }
  const auto again = snapshot::decode_catalogue(snapshot::encode(*catalogue));
  demand(again && *again == *catalogue, "a catalogue that comes back");
}

/// Texts that are right, with bytes of them replaced: what follows is places and bytes in turn.
std::string patched(std::string text, std::string_view patches) {
  for (std::size_t i = 0; i + 2 < patches.size(); i += 3) {
    const auto high = static_cast<unsigned char>(patches[i]);
    const auto low = static_cast<unsigned char>(patches[i + 1]);
    const std::size_t place = (std::size_t{high} * 256 + low) % text.size();
    text[place] = patches[i + 2];
  }
  return text;
}

std::string right_record() {
  return snapshot::encode(snapshot::MergeRecord{.files = {"child.vhdx", "between.vhdx"},
                                                .ids = {Guid{{1}}, Guid{{2}}},
                                                .old_id = Guid{{3}},
                                                .new_id = Guid{{4}},
                                                .done = 4096});
}

std::string right_catalogue() {
  snapshot::Catalogue out{.current = "disk_1.avhdx", .trash = {"disk_2.avhdx"}};
  out.nodes.push_back({.id = Guid{{1}}, .name = "one", .file = "disk.vhdx"});
  out.nodes.push_back(
      {.id = Guid{{2}}, .name = "two", .file = "disk_0.avhdx", .parent = Guid{{1}}});
  out.merge = snapshot::Catalogue::Merge{.child = "disk_0.avhdx", .target = "disk.vhdx"};
  return snapshot::encode(out);
}

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text{reinterpret_cast<const char*>(data), size};
  openvhd::test::try_record(text);
  openvhd::test::try_catalogue(text);
  openvhd::test::try_record(openvhd::test::patched(openvhd::test::right_record(), text));
  openvhd::test::try_catalogue(openvhd::test::patched(openvhd::test::right_catalogue(), text));
  return 0;
}
