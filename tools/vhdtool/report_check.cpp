#include <fmt/format.h>

#include "report.hpp"
#include "size.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

using openvhd::FileCheck;
using openvhd::Finding;
using openvhd::Severity;

const char* severity_name(Severity severity) noexcept {
  switch (severity) {
    case Severity::note:
      return "note";
    case Severity::warning:
      return "warning";
    case Severity::error:
      return "error";
  }
  return "?";
}

std::string verdict(const FileCheck& file) {
  std::string text;
  for (const auto severity : {Severity::error, Severity::warning, Severity::note}) {
    std::uint64_t number = 0;
    for (const auto& finding : file.findings) number += finding.severity == severity ? 1 : 0;
    if (number == 0) continue;
    text += (text.empty() ? "" : ", ") + counted(number, severity_name(severity));
  }
  if (file.clean()) return text.empty() ? "clean" : "clean, " + text;
  return text;
}

std::string file_text(const FileCheck& file) {
  Table table{std::vector<Table::Align>(4, Table::Align::left)};
  for (const auto& finding : file.findings) {
    table.row({severity_name(finding.severity), printable(finding.id),
               fmt::format("{:#x}", finding.at.value),
               printable(finding.text) + (finding.repairable ? " [repairable]" : "")});
  }
  auto out = printable(file.path) + ": ";
  if (file.format) out += std::string{format_name(*file.format)} + ": ";
  out += verdict(file) + '\n' + table.text("  ");
  if (file.suppressed != 0) out += fmt::format("  and {} more\n", grouped(file.suppressed));
  return out;
}

Json finding_json(const Finding& finding) {
  return {{"id", finding.id},
          {"severity", severity_name(finding.severity)},
          {"offset", finding.at.value},
          {"text", finding.text},
          {"repairable", finding.repairable}};
}

Json file_json(const FileCheck& file) {
  Json findings = Json::array();
  for (const auto& finding : file.findings) findings.push_back(finding_json(finding));
  return {{"path", file.path},
          {"format", file.format ? Json(openvhd::to_string(*file.format)) : Json(nullptr)},
          {"clean", file.clean()},
          {"findings", findings},
          {"suppressed", file.suppressed}};
}

}  // namespace

std::string check_text(const openvhd::CheckReport& report) {
  std::string out;
  for (const auto& file : report.files) out += file_text(file);
  return out;
}

Json check_json(const openvhd::CheckReport& report) {
  Json files = Json::array();
  for (const auto& file : report.files) files.push_back(file_json(file));
  return {{"clean", report.clean()}, {"files", files}};
}

std::string repair_text(const openvhd::RepairResult& result) {
  auto out = check_text(result.before);
  if (result.actions.empty()) {
    if (!result.before.clean()) out += "  nothing of this can be repaired without losing data\n";
    return out;
  }
  for (const auto& action : result.actions) out += "  repaired: " + printable(action) + '\n';
  if (!result.undo_file.empty())
    out += "  undo file: " + printable(result.undo_file) + " (check --undo puts the bytes back)\n";
  return out + "after repair:\n" + check_text(result.after);
}

}  // namespace vhdtool
