/// Rebasing on disks that are open already: what the public call and its tests share.
#pragma once

#include <memory>
#include <openvhd/rebase.hpp>
#include <string>

#include "snapshot/chain_files.hpp"

namespace openvhd::snapshot {

struct RebaseTask {
  std::string child{};
  std::string parent{};  ///< The new one.
  /// The child over its old parents, writable; null: only the name changes.
  std::unique_ptr<detail::DiskState> old_disk{};
};

/// Copies into the child what its old chain and `parent` hold differently, and then makes `parent`
/// its parent. Until that last step the child is over its old parent and reads the same.
Result<RebaseResult> run_rebase(const Workshop& shop, RebaseTask task, detail::DiskState& parent);

}  // namespace openvhd::snapshot
