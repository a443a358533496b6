#include "report_snapshot.hpp"

#include <fmt/format.h>

#include "report.hpp"
#include "size.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

Json names_json(const std::vector<std::string>& names) {
  Json out = Json::array();
  for (const std::string& name : names) out.push_back(name);
  return out;
}

std::string names_text(const char* what, const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += fmt::format("{} {}\n", what, printable(name));
  return out;
}

}  // namespace

std::vector<std::string> merge_notes(const std::string& file) {
  if (!openvhd::merge_is_unfinished(file)) return {};
  return {file + ": a merge into it was interrupted: vhdtool merge --resume finishes it (C05)"};
}

std::string merge_text(const openvhd::MergeResult& result) {
  std::string parts;
  const auto add = [&parts](std::uint64_t bytes, const char* what) {
    if (bytes == 0) return;
    parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", human_size(bytes), what);
  };
  add(result.copied_bytes, "copied");
  add(result.cloned_bytes, "shared");
  add(result.cleared_bytes, "made zero");
  return fmt::format("{}: merged{}{}{}\n", printable(result.disk),
                     result.resumed ? ", where it had stopped" : "", parts.empty() ? "" : ": ",
                     parts) +
         names_text("now over it:", result.reparented) + names_text("removed:", result.removed);
}

Json merge_json(const openvhd::MergeResult& result) {
  return {{"schema", kJsonSchema},
          {"disk", result.disk},
          {"copied_bytes", result.copied_bytes},
          {"cloned_bytes", result.cloned_bytes},
          {"cleared_bytes", result.cleared_bytes},
          {"resumed", result.resumed},
          {"removed", names_json(result.removed)},
          {"reparented", names_json(result.reparented)},
          {"notes", names_json(result.notes)}};
}

std::string rebase_text(const openvhd::RebaseResult& result) {
  return fmt::format("over {} now, recorded as {}: {} compared, {} copied\n",
                     printable(result.parent), printable(result.recorded),
                     human_size(result.compared_bytes), human_size(result.copied_bytes));
}

Json rebase_json(const openvhd::RebaseResult& result) {
  return {{"schema", kJsonSchema},
          {"parent", result.parent},
          {"recorded", result.recorded},
          {"compared_bytes", result.compared_bytes},
          {"copied_bytes", result.copied_bytes},
          {"notes", names_json(result.notes)}};
}

std::string checkpoints_text(const openvhd::CheckpointTree& tree) {
  std::string out;
  for (const openvhd::Checkpoint& one : tree.checkpoints) {
    if (one.hidden) continue;
    out += fmt::format("{}  {}  {}  {}\n", utc_text(one.created_unix), to_string(one.id),
                       printable(one.name), printable(one.file));
  }
  return out + fmt::format("the disk is {}\n", printable(tree.current));
}

namespace {

void add_branch(const openvhd::CheckpointTree& tree, const std::optional<openvhd::Guid>& parent,
                std::size_t depth, std::string& out) {
  const std::string indent(2 * depth, ' ');
  for (const openvhd::Checkpoint& one : tree.checkpoints) {
    if (one.parent != parent) continue;
    out += fmt::format("{}{}  {}\n", indent,
                       one.hidden ? std::string{"(deleted, still needed)"} : printable(one.name),
                       printable(one.file));
    // Chains have an end: an image is at most 64 files deep.
    if (depth < 64) add_branch(tree, one.id, depth + 1, out);
  }
  if (tree.current_parent == parent) {
    out += fmt::format("{}* {}\n", indent, printable(tree.current));
  }
}

}  // namespace

std::string checkpoint_tree_text(const openvhd::CheckpointTree& tree) {
  std::string out;
  add_branch(tree, std::nullopt, 0, out);
  return out;
}

Json checkpoints_json(const openvhd::CheckpointTree& tree) {
  const auto id_json = [](const std::optional<openvhd::Guid>& id) {
    return id ? Json(to_string(*id)) : Json(nullptr);
  };
  Json list = Json::array();
  for (const openvhd::Checkpoint& one : tree.checkpoints) {
    list.push_back({{"id", to_string(one.id)},
                    {"name", one.name},
                    {"file", one.file},
                    {"parent", id_json(one.parent)},
                    {"created_unix", one.created_unix},
                    {"hidden", one.hidden}});
  }
  return {{"schema", kJsonSchema},          {"catalogue", tree.catalogue},
          {"current", tree.current},        {"current_parent", id_json(tree.current_parent)},
          {"checkpoints", std::move(list)}, {"notes", names_json(tree.notes)}};
}

}  // namespace vhdtool
