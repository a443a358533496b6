/// What the images cannot say of checkpoints: names, times, what is under way.
#pragma once

#include <cstddef>
#include <openvhd/checkpoint.hpp>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/image_store.hpp"
#include "snapshot/chain_files.hpp"

namespace openvhd::snapshot {

struct Catalogue {
  struct Merge {
    std::string child{};
    std::string target{};
    friend bool operator==(const Merge&, const Merge&) = default;
  };
  struct Node {
    Guid id{};
    std::string name{};
    std::string file{};
    std::optional<Guid> parent{};
    std::int64_t created_unix = 0;
    bool hidden = false;
    friend bool operator==(const Node&, const Node&) = default;
  };
  std::string current{};  ///< All files by their leaf names, in the catalogue's directory.
  std::vector<Node> nodes{};
  std::vector<std::string> trash{};  ///< Nobody needs them any more.
  std::optional<Merge> merge{};      ///< Under way.

  friend bool operator==(const Catalogue&, const Catalogue&) = default;

  const Node* with_file(std::string_view file) const noexcept;
};

inline constexpr std::size_t kMaxCatalogueBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMostNodes = 1024;
inline constexpr std::size_t kLongestName = 255;

/// "disk.vhdx.checkpoints".
std::string catalogue_path(const std::string& root);

std::string encode(const Catalogue& catalogue);
/// Text that anybody may have written: plain file names only, each once, a tree. Errors: corrupt;
/// unsupported (another version).
Result<Catalogue> decode_catalogue(std::string_view text);

/// Refuses images that a catalogue beside them names: only who keeps the catalogue may change what
/// they are over (C03). Errors: denied, and those of reading a catalogue, blamed on it.
Status expect_no_checkpoints(const Workshop& shop, std::span<const std::string> paths);

/// Whether a checkpoint may have this name.
bool is_checkpoint_name(std::string_view name) noexcept;

}  // namespace openvhd::snapshot
