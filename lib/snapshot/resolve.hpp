/// From the name of a child to the files of its chain.
#pragma once

#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <string>
#include <vector>

#include "snapshot/chain_files.hpp"

namespace openvhd::snapshot {

/// A chain as it was when it was looked up; nothing of it is open any more.
struct ResolvedChain {
  Format format{};
  std::vector<std::string> paths{};  ///< The child first.
  std::vector<FileIdentity> identities{};
};

/// Opens the chain under the policy, and closes it. Errors: of opening; unsupported (a raw parent).
Result<ResolvedChain> resolve_chain(const std::string& child, const ParentPolicy& parents,
                                    OpenReport* report);

/// Where in the chain the file with this name is. Errors: invalid (nowhere), those of opening it.
Result<std::size_t> index_in(const ResolvedChain& chain, const std::string& path,
                             OpenReport* report);

/// VHD or VHDX, by content.
Result<Format> format_of(const std::string& path, OpenReport* report);

}  // namespace openvhd::snapshot
