/// Giving a differencing image another parent.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <string>
#include <vector>

namespace openvhd {

/// Where paths that an image has recorded elsewhere lead to here: all below `from`, compared
/// without regard to case, with either kind of slash, is below `to`.
struct PathMapping {
  std::string from{};  ///< "C:\VMs"
  std::string to{};    ///< "/srv/vms"
};

/// Which image gets which parent, and how.
struct RebaseOptions {
  std::string child{};   ///< The image that gets another parent.
  std::string parent{};  ///< The new one. Empty with `mappings`: where they say that it is.
  /// Only the name changes: the disk reads through the new parent, whatever that holds.
  bool unsafe = false;
  std::vector<PathMapping> mappings{};  ///< Where recorded paths lead to here.
  ParentPolicy parents{};               ///< For both chains.
  bool direct = true;                   ///< Bypass the page cache where the host allows.
  Progress* progress = nullptr;         ///< Borrowed; may be null.
  OpenReport* report = nullptr;         ///< Borrowed; may be null.
};

/// What a rebase did.
struct RebaseResult {
  std::string parent{};              ///< As it was opened.
  std::string recorded{};            ///< The path in the child's locator.
  std::uint64_t compared_bytes = 0;  ///< Read from both chains.
  std::uint64_t copied_bytes = 0;    ///< Written to the child, because the chains differ there.
  std::vector<std::string> notes{};  ///< What the caller should know.
};

/// Makes `parent` the parent of `child`, which reads as before: what the old chain and the new
/// one hold differently is first copied into the child. The name is changed last, all or nothing;
/// cut off anywhere before, the child is over its old parent and reads the same.
///
/// Errors: invalid (no parent, not the same format, the child would be its own ancestor),
/// mismatch (sector sizes, a parent larger than the child), busy, no_space, io, cancelled, and
/// those of opening.
Result<RebaseResult> rebase(const RebaseOptions& options);

/// The chain of parents that `mappings` lead to, nearest first, for ParentPolicy::chain. Errors:
/// not_found (a parent whose recorded paths lead nowhere), and those of opening.
Result<std::vector<ParentFile>> map_parents(const std::string& child,
                                            const std::vector<PathMapping>& mappings);

}  // namespace openvhd
