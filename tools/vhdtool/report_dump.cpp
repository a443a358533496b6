#include <fmt/format.h>

#include "report.hpp"
#include "size.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

using openvhd::DumpNode;

constexpr std::size_t kMaxDepth = 64;  // of the tree that the library builds; far above its own

void add_node(std::string& out, const DumpNode& node, std::size_t depth, std::size_t name_width) {
  const auto at = node.at ? fmt::format("{:#014x}", node.at->value) : std::string(14, ' ');
  const auto name = printable(node.name);
  auto line = fmt::format("{}  {}{}", at, std::string(depth * 2, ' '), name);
  if (!node.value.empty()) {
    const auto width = columns(name);
    line += std::string(name_width > width ? name_width - width : 0, ' ') + "  ";
    line += printable(node.value);
  }
  if (!node.problem.empty()) line += "  <-- " + printable(node.problem);
  line.erase(line.find_last_not_of(' ') + 1);
  out += line + '\n';
  if (depth == kMaxDepth) return;
  std::size_t widest = 0;
  for (const auto& child : node.children) {
    if (!child.value.empty()) widest = std::max(widest, columns(printable(child.name)));
  }
  for (const auto& child : node.children) add_node(out, child, depth + 1, widest);
}

Json node_json(const DumpNode& node, std::size_t depth) {
  Json json = {{"name", node.name}};
  if (!node.value.empty()) json["value"] = node.value;
  if (node.number) json["number"] = *node.number;
  if (node.at) json["offset"] = node.at->value;
  if (!node.problem.empty()) json["problem"] = node.problem;
  if (node.children.empty() || depth == kMaxDepth) return json;
  Json children = Json::array();
  for (const auto& child : node.children) children.push_back(node_json(child, depth + 1));
  json["children"] = std::move(children);
  return json;
}

}  // namespace

std::string dump_text(const DumpNode& root) {
  std::string out;
  add_node(out, root, 0, 0);
  return out;
}

Json dump_json(const DumpNode& root) {
  return {{"schema", kJsonSchema}, {"image", node_json(root, 0)}};
}

}  // namespace vhdtool
