#include "vhdx/judge.hpp"

namespace openvhd::vhdx {
namespace {

// A hostile table could deviate in every entry.
constexpr std::size_t kMostNotes = 64;

}  // namespace

void Judge::add(Severity severity, const Breach& breach, const std::string& detail) {
  std::string text = breach.what;
  if (!detail.empty()) text += ": " + detail;
  if (severity != Severity::error && notes_.size() < kMostNotes) notes_.push_back(text);
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
  add(Severity::error, breach, detail);
  return out;
}

void Judge::warning(const Breach& breach, const std::string& detail) {
  add(Severity::warning, breach, detail);
}

void Judge::note(const Breach& breach, const std::string& detail) {
  add(Severity::note, breach, detail);
}

Status Judge::status() const {
  if (first_) return *first_;
  return Ok{};
}

}  // namespace openvhd::vhdx
