/// From a name to the files and layers of a disk: probing, locks, parents.
#pragma once

#include <openvhd/disk.hpp>
#include <span>
#include <string>
#include <vector>

#include "io/image_layer.hpp"
#include "io/parent_open.hpp"
#include "io/posix_file.hpp"

namespace openvhd {

/// Beside an image into which another is being merged: "base.vhdx.merge" (lib/snapshot).
inline constexpr const char* kMergeRecordEnding = ".merge";
/// Beside an image that holds the first state of a disk with checkpoints.
inline constexpr const char* kCatalogueEnding = ".checkpoints";

/// Whether a merge into this image was interrupted.
bool merge_is_pending(const std::string& path);
/// Nothing new is built on images that are in between (C05). Errors: denied.
Status expect_no_pending_merge(std::span<const std::string> paths);

/// The files of a disk, opened and locked, the leaf first.
struct OpenedChain {
  std::vector<OpenedImage> images{};
  std::vector<std::string> paths{};
  Format format{};
  bool complete = true;  ///< False: the last image has a parent that was not opened.
  /// For what is opened later: how the leaf was, and whether transfers avoid the page cache.
  LayerOpenOptions how{};
  bool direct = false;
};

/// Opens `path` and its parents. Fills options.report as far as it gets.
Result<OpenedChain> open_chain(const std::string& path, const OpenOptions& options, Host& host);

/// Opens a file with the lock of `access` and, where that is asked, direct I/O.
Result<std::unique_ptr<PosixFile>> open_host_file(const std::string& path, Access access,
                                                  bool direct);

/// VHD or VHDX by content; empty when it is neither.
Result<std::optional<Format>> probe(File& file);

/// Opens one file as `format`.
Result<OpenedImage> open_layer(Format format, std::unique_ptr<File> file,
                               const LayerOpenOptions& options, Host& host);

/// The host files of a chain, as far up as it is open: what finding the next parent needs.
struct HostFile {
  const PosixFile* file = nullptr;  ///< Owned by the image that was opened on it.
  ImagePlace place;
};

/// Opens the file of the parent that `child`, opened on the last of `below`, names, under the
/// policy. Locked as `options.access` says. Does not look inside.
Result<OpenedParent> find_parent(const ImageLayer& child, std::span<const HostFile> below,
                                 const OpenOptions& options);

/// Whether a chain that has `files` files may have one more (C02).
Status check_depth(const ParentPolicy& policy, std::size_t files);

/// Whether `parent` is what `child` was made from (C01).
Status verify_link(const ImageLayer& child, const ImageLayer& parent, bool raw_parent);

}  // namespace openvhd
