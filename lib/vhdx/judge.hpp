/// Where broken rules go: open() wants the first one, check() wants them all.
#pragma once

#include <cstddef>
#include <openvhd/check.hpp>
#include <openvhd/error.hpp>
#include <optional>
#include <string>
#include <vector>

namespace openvhd::vhdx {

/// A rule and how it was broken. Literals: an Error may carry `what`.
struct Breach {
  const char* id = "";    ///< The invariant: "X07".
  const char* what = "";  ///< Structure, rule, section, id.
  FileOffset at{};
  Errc code = Errc::corrupt;
  bool repairable = false;
};

/// The rule that a text names at its end, "... (2.2.2, X02)"; "X00" where it names none.
const char* rule_in(const char* what) noexcept;

class Judge {
 public:
  /// Keeps the first error, and deviations that are tolerated as notes.
  Judge() = default;
  /// Also adds everything to `findings`, at most `limit` of them.
  Judge(std::vector<Finding>& findings, std::size_t limit) : findings_{&findings}, limit_{limit} {}

  /// A broken rule that forbids to use the image. Returns the Error, for who cannot go on; who
  /// can, does, and asks status() in the end.
  Error error(const Breach& breach, const std::string& detail = {});
  /// A broken rule that can be lived with: an open notes it, a check calls it an error.
  void fault(const Breach& breach, const std::string& detail = {});
  /// A broken rule that readers tolerate.
  void warning(const Breach& breach, const std::string& detail = {});
  /// Allowed, worth knowing.
  void note(const Breach& breach, const std::string& detail = {});

  /// An Error that came from elsewhere; its rule is the one that its text names.
  Error error(const Error& error);

  /// The first error, or Ok.
  Status status() const;
  const std::vector<std::string>& notes() const noexcept { return notes_; }
  /// True once nothing more will be added: loops over huge tables may stop.
  bool full() const noexcept { return findings_ != nullptr && added_ >= limit_; }

 private:
  void add(Severity severity, bool fatal, const Breach& breach, const std::string& detail);

  std::vector<Finding>* findings_ = nullptr;
  std::size_t limit_ = 0;
  std::size_t added_ = 0;
  std::optional<Error> first_;
  std::vector<std::string> notes_;
};

}  // namespace openvhd::vhdx
