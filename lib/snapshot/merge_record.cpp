#include "snapshot/merge_record.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/try.hpp"
#include "image/open.hpp"

namespace openvhd::snapshot {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr std::size_t kMostFiles = 64;
constexpr std::size_t kLongestPath = 4096;
constexpr std::size_t kMostDirectories = 1024;
constexpr std::array kStages{"copy", "relink", "remove"};

Error broken(const char* what) noexcept { return {.code = Errc::corrupt, .what = what}; }

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

Result<Guid> guid_in(const Json* value) {
  if (value == nullptr || !value->is_string()) return broken("merge record: an id (C05)");
  const auto guid = parse_guid(value->get_ref<const std::string&>());
  if (!guid) return broken("merge record: an id (C05)");
  return *guid;
}

Result<std::string> path_in(const Json& value) {
  if (!value.is_string()) return broken("merge record: a file name (C05)");
  std::string text = value.get<std::string>();
  const bool control = std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (text.empty() || text.size() > kLongestPath || control) {
    return broken("merge record: a file name (C05)");
  }
  return text;
}

Status read_lists(const Json& object, MergeRecord& out) {
  const Json* const files = member(object, "files");
  const Json* const ids = member(object, "ids");
  const bool lists = files != nullptr && ids != nullptr && files->is_array() && ids->is_array();
  if (!lists || files->empty() || files->size() > kMostFiles || files->size() != ids->size()) {
    return broken("merge record: files and their ids (C05)");
  }
  for (std::size_t i = 0; i < files->size(); ++i) {
    OVHD_TRY(std::string path, path_in((*files)[i]));
    OVHD_TRY(const Guid id, guid_in(&(*ids)[i]));
    out.files.push_back(std::move(path));
    out.ids.push_back(id);
  }
  return Ok{};
}

// A record of before they were recorded has none.
Status read_directories(const Json& object, MergeRecord& out) {
  const Json* const directories = member(object, "child_dirs");
  if (directories == nullptr) return Ok{};
  if (!directories->is_array() || directories->size() > kMostDirectories) {
    return broken("merge record: directories of children (C05)");
  }
  for (const Json& directory : *directories) {
    OVHD_TRY(std::string path, path_in(directory));
    out.child_dirs.push_back(std::move(path));
  }
  return Ok{};
}

}  // namespace

std::string record_path(const std::string& target) { return target + kMergeRecordEnding; }

std::string encode(const MergeRecord& record) {
  Json ids = Json::array();
  for (const Guid& id : record.ids) ids.push_back(to_string(id));
  const Json object{{"openvhd", "merge"},
                    {"version", kVersion},
                    {"stage", kStages[static_cast<std::size_t>(record.stage)]},
                    {"files", record.files},
                    {"ids", std::move(ids)},
                    {"child_dirs", record.child_dirs},
                    {"old_id", to_string(record.old_id)},
                    {"new_id", to_string(record.new_id)},
                    {"keep", record.keep},
                    {"force_siblings", record.force_siblings},
                    {"done", record.done}};
  // Names need not be UTF-8; what is not comes back as a name that is not there.
  return object.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<MergeRecord> decode_record(std::string_view text) {
  if (text.size() > kMaxRecordBytes) return broken("merge record: longer than 64 KiB (C05)");
  const Json object = Json::parse(text, nullptr, false);
  if (!object.is_object()) return broken("merge record: no JSON object (C05)");
  const Json* const kind = member(object, "openvhd");
  const Json* const version = member(object, "version");
  if (kind == nullptr || *kind != "merge") return broken("merge record: of another kind (C05)");
  if (version == nullptr || *version != kVersion) {
    return Error{.code = Errc::unsupported, .what = "merge record: of another version (C05)"};
  }
  MergeRecord out;
  const Json* const stage = member(object, "stage");
  const auto named = std::ranges::find_if(
      kStages, [&](const char* name) { return stage != nullptr && *stage == name; });
  if (named == kStages.end()) return broken("merge record: stage (C05)");
  out.stage = static_cast<MergeRecord::Stage>(named - kStages.begin());
  OVHD_CHECK(read_lists(object, out));
  OVHD_CHECK(read_directories(object, out));
  OVHD_TRY(out.old_id, guid_in(member(object, "old_id")));
  OVHD_TRY(out.new_id, guid_in(member(object, "new_id")));
  const Json* const keep = member(object, "keep");
  const Json* const done = member(object, "done");
  const Json* const force = member(object, "force_siblings");
  const auto is_flag = [](const Json* value) { return value != nullptr && value->is_boolean(); };
  if (!is_flag(keep) || !is_flag(force) || done == nullptr || !done->is_number_unsigned()) {
    return broken("merge record: keep, force_siblings or done (C05)");
  }
  out.force_siblings = force->get<bool>();
  out.keep = keep->get<bool>();
  out.done = done->get<std::uint64_t>();
  return out;
}

Result<MergeRecord> read_record(ImageStore& store, const std::string& target) {
  OVHD_TRY(const std::string text, store.read_text(record_path(target), kMaxRecordBytes));
  return decode_record(text);
}

Status write_record(ImageStore& store, const std::string& target, const MergeRecord& record) {
  return store.write_text(record_path(target), encode(record));
}

std::string recorded_path(const std::string& target, const std::string& name) {
  return name.find('/') == std::string::npos ? beside(target, name) : name;
}

Status expect_not_being_merged(const Workshop& shop, const std::string& image,
                               std::span<const std::string> chain) {
  OVHD_TRY(const HeldFile self, hold(shop, image, Lock::none, std::nullopt));
  const std::string ending = record_path({});
  std::vector<std::string> targets{chain.begin(), chain.end()};
  OVHD_TRY(const std::vector<std::string> names, shop.store.list(directory_of(image)));
  for (const std::string& name : names) {
    if (!name.ends_with(ending) || name == ending) continue;
    targets.push_back(beside(image, name.substr(0, name.size() - ending.size())));
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (!shop.store.exists(record_path(targets[i]))) continue;
    const auto record = read_record(shop.store, targets[i]);
    if (!record && i >= chain.size()) continue;  // of some other image
    shop.blame(record_path(targets[i]));
    if (!record) return record.error();
    for (const std::string& name : record->files) {
      const auto file = shop.store.open(recorded_path(targets[i], name), Lock::none);
      if (!file || (*file)->identity() != self.file->identity()) continue;
      return Error{.code = Errc::denied,
                   .what =
                       "an unfinished merge takes the image in: vhdtool merge --resume "
                       "finishes it (C05)"};
    }
  }
  shop.blame(image);
  return Ok{};
}

}  // namespace openvhd::snapshot
