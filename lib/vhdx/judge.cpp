#include "vhdx/judge.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace openvhd::vhdx {
namespace {

// A hostile table could deviate in every entry.
constexpr std::size_t kMostNotes = 64;

}  // namespace

const char* rule_in(const char* what) noexcept {
  static constexpr std::array kRules{"X01", "X02", "X03", "X04", "X05", "X06", "X07", "X08", "X09",
                                     "X10", "X11", "X12", "X13", "X14", "X15", "X16", "X17", "X18",
                                     "L01", "L02", "L03", "L04", "L05", "L06", "L07", "L08", "L10"};
  const std::string_view text{what};
  const std::size_t end = text.rfind(')');
  if (end == std::string_view::npos || end < 3) return "X00";
  const std::string_view id = text.substr(end - 3, 3);
  const auto found = std::ranges::find(kRules, id);
  return found == kRules.end() ? "X00" : *found;
}

void Judge::add(Severity severity, bool fatal, const Breach& breach, const std::string& detail) {
  std::string text = breach.what;
  if (!detail.empty()) text += ": " + detail;
  if (!fatal && notes_.size() < kMostNotes) notes_.push_back(text);
  if (findings_ == nullptr || added_ >= limit_) return;
  ++added_;
  findings_->push_back({.id = breach.id,
                        .severity = severity,
                        .at = breach.at,
                        .text = std::move(text),
                        .repairable = breach.repairable});
}

Error Judge::error(const Breach& breach, const std::string& detail) {
  const Error out{.code = breach.code, .where = breach.at, .what = breach.what};
  if (!first_) first_ = out;
  add(Severity::error, true, breach, detail);
  return out;
}

Error Judge::error(const Error& given) {
  return error(
      {.id = rule_in(given.what), .what = given.what, .at = given.where, .code = given.code});
}

void Judge::fault(const Breach& breach, const std::string& detail) {
  add(Severity::error, false, breach, detail);
}

void Judge::warning(const Breach& breach, const std::string& detail) {
  add(Severity::warning, false, breach, detail);
}

void Judge::note(const Breach& breach, const std::string& detail) {
  add(Severity::note, false, breach, detail);
}

Status Judge::status() const {
  if (first_) return *first_;
  return Ok{};
}

}  // namespace openvhd::vhdx
