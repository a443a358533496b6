#include "snapshot/catalogue.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/try.hpp"
#include "base/utf16.hpp"
#include "image/open.hpp"

namespace openvhd::snapshot {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr std::size_t kMostTrash = 64;

Error broken(const char* what) noexcept { return {.code = Errc::corrupt, .what = what}; }

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool has_control(std::string_view text) noexcept {
  return std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

/// A name in the catalogue's own directory: nothing else is ever opened, or removed, on its word.
Result<std::string> file_in(const Json* value) {
  if (value == nullptr || !value->is_string()) return broken("catalogue: a file name (C06)");
  std::string name = value->get<std::string>();
  const bool plain = !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
                     name.find('/') == std::string::npos && !has_control(name);
  if (!plain) return broken("catalogue: a file name that is no plain one (C06)");
  return name;
}

Result<Guid> guid_in(const Json* value) {
  if (value == nullptr || !value->is_string()) return broken("catalogue: an id (C06)");
  const auto guid = parse_guid(value->get_ref<const std::string&>());
  if (!guid || guid->is_nil()) return broken("catalogue: an id (C06)");
  return *guid;
}

Result<Catalogue::Node> node_in(const Json& value) {
  if (!value.is_object()) return broken("catalogue: a checkpoint (C06)");
  Catalogue::Node out;
  OVHD_TRY(out.id, guid_in(member(value, "id")));
  OVHD_TRY(out.file, file_in(member(value, "file")));
  const Json* const name = member(value, "name");
  if (name == nullptr || !name->is_string() ||
      !is_checkpoint_name(name->get_ref<const std::string&>())) {
    return broken("catalogue: the name of a checkpoint (C06)");
  }
  out.name = name->get<std::string>();
  if (const Json* const parent = member(value, "parent")) {
    OVHD_TRY(const Guid id, guid_in(parent));
    out.parent = id;
  }
  const Json* const created = member(value, "created");
  const Json* const hidden = member(value, "hidden");
  if (created == nullptr || !created->is_number_integer() || hidden == nullptr ||
      !hidden->is_boolean()) {
    return broken("catalogue: time or state of a checkpoint (C06)");
  }
  out.created_unix = created->get<std::int64_t>();
  out.hidden = hidden->get<bool>();
  return out;
}

/// Parents come before their children, so that there is no ring; no file and no id is there twice.
Status judge(const Catalogue& catalogue) {
  std::set<Guid> ids;
  std::set<std::string> files{catalogue.current};
  for (const Catalogue::Node& node : catalogue.nodes) {
    if (node.parent && !ids.contains(*node.parent)) {
      return broken("catalogue: a parent that is not there, or not before its child (C02)");
    }
    if (!ids.insert(node.id).second || !files.insert(node.file).second) {
      return broken("catalogue: a checkpoint or a file twice (C02)");
    }
  }
  for (const std::string& file : catalogue.trash) {
    if (!files.insert(file).second) return broken("catalogue: a file that is and is not needed");
  }
  return Ok{};
}

Status read_lists(const Json& object, Catalogue& out) {
  const Json* const nodes = member(object, "checkpoints");
  const Json* const trash = member(object, "trash");
  if (nodes == nullptr || !nodes->is_array() || nodes->size() > kMostNodes || trash == nullptr ||
      !trash->is_array() || trash->size() > kMostTrash) {
    return broken("catalogue: its lists (C06)");
  }
  for (const Json& value : *nodes) {
    OVHD_TRY(Catalogue::Node node, node_in(value));
    out.nodes.push_back(std::move(node));
  }
  for (const Json& value : *trash) {
    OVHD_TRY(std::string file, file_in(&value));
    out.trash.push_back(std::move(file));
  }
  return Ok{};
}

}  // namespace

const Catalogue::Node* Catalogue::with_file(std::string_view file) const noexcept {
  const auto found = std::ranges::find(nodes, file, &Node::file);
  return found == nodes.end() ? nullptr : &*found;
}

std::string catalogue_path(const std::string& root) { return root + kCatalogueEnding; }

bool is_checkpoint_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kLongestName && is_utf8(name) && !has_control(name);
}

std::string encode(const Catalogue& catalogue) {
  Json nodes = Json::array();
  for (const Catalogue::Node& node : catalogue.nodes) {
    nodes.push_back({{"id", to_string(node.id)},
                     {"name", node.name},
                     {"file", node.file},
                     {"parent", node.parent ? Json(to_string(*node.parent)) : Json(nullptr)},
                     {"created", node.created_unix},
                     {"hidden", node.hidden}});
  }
  Json object{{"openvhd", "checkpoints"},
              {"version", kVersion},
              {"current", catalogue.current},
              {"checkpoints", std::move(nodes)},
              {"trash", catalogue.trash}};
  if (catalogue.merge) {
    object["merge"] = {{"child", catalogue.merge->child}, {"target", catalogue.merge->target}};
  }
  return object.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Catalogue> decode_catalogue(std::string_view text) {
  if (text.size() > kMaxCatalogueBytes) return broken("catalogue: longer than 1 MiB (C06)");
  const Json object = Json::parse(text, nullptr, false);
  if (!object.is_object()) return broken("catalogue: no JSON object (C06)");
  const Json* const kind = member(object, "openvhd");
  const Json* const version = member(object, "version");
  if (kind == nullptr || *kind != "checkpoints") return broken("catalogue: of another kind (C06)");
  if (version == nullptr || *version != kVersion) {
    return Error{.code = Errc::unsupported, .what = "catalogue: of another version (C06)"};
  }
  Catalogue out;
  OVHD_TRY(out.current, file_in(member(object, "current")));
  OVHD_CHECK(read_lists(object, out));
  if (const Json* const merge = member(object, "merge")) {
    if (!merge->is_object()) return broken("catalogue: a merge (C06)");
    OVHD_TRY(std::string child, file_in(member(*merge, "child")));
    OVHD_TRY(std::string target, file_in(member(*merge, "target")));
    out.merge = Catalogue::Merge{std::move(child), std::move(target)};
  }
  OVHD_CHECK(judge(out));
  return out;
}

namespace {

bool names_file(const Catalogue& catalogue, const std::string& leaf) {
  return catalogue.current == leaf || catalogue.with_file(leaf) != nullptr ||
         std::ranges::find(catalogue.trash, leaf) != catalogue.trash.end();
}

}  // namespace

Status expect_no_checkpoints(const Workshop& shop, std::span<const std::string> paths) {
  const std::string ending = catalogue_path({});
  for (const std::string& path : paths) {
    OVHD_TRY(const std::vector<std::string> names, shop.store.list(directory_of(path)));
    for (const std::string& name : names) {
      if (!name.ends_with(ending) || name == ending) continue;
      shop.blame(beside(path, name));
      OVHD_TRY(const std::string text,
               shop.store.read_text(beside(path, name), kMaxCatalogueBytes));
      OVHD_TRY(const Catalogue catalogue, decode_catalogue(text));
      const bool root = name == leaf_of(catalogue_path(path));
      if (!root && !names_file(catalogue, leaf_of(path))) continue;
      shop.blame(path);
      return Error{.code = Errc::denied,
                   .what =
                       "belongs to a disk with checkpoints: vhdtool checkpoint delete merges "
                       "it (C03)"};
    }
  }
  return Ok{};
}

}  // namespace openvhd::snapshot
