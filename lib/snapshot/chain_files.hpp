/// The files of a chain, opened by an operation that changes some of them.
#pragma once

#include <cstdint>
#include <memory>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "image/disk_state.hpp"
#include "image/parent_change.hpp"
#include "io/host.hpp"
#include "io/image_store.hpp"

namespace openvhd::snapshot {

/// Where an operation works, and how.
struct Workshop {
  ImageStore& store;
  Host& host;
  DriverKind driver = DriverKind::automatic;
  std::uint32_t depth = 8;
  bool reflink = true;
  Progress* progress = nullptr;  // borrowed; may be null
  OpenReport* report = nullptr;  // borrowed; may be null
  /// Bytes that a merge moves between two durable notes of how far it is.
  std::uint64_t milestone_bytes = kMilestoneBytes;
  static constexpr std::uint64_t kMilestoneBytes = std::uint64_t{4} << 30;

  /// From here on errors are about this file.
  void blame(const std::string& path) const {
    if (report != nullptr) report->files = {path};
  }
  bool update(std::uint64_t done, std::uint64_t total) const noexcept {
    return progress == nullptr || progress->update(done, total);
  }
};

Error stopped() noexcept;

/// A file that is held open, and locked, as long as an operation lasts.
struct HeldFile {
  std::string path{};
  std::unique_ptr<File> file{};
};

/// Opens and locks a file; `expected` is empty or what it was when its name was looked up.
/// Errors: denied when another file has the name by now, and those of opening.
Result<HeldFile> hold(const Workshop& shop, const std::string& path, Lock lock,
                      const std::optional<FileIdentity>& expected);

/// What an image says of itself, read without changing it.
struct ImageFacts {
  DiskType type{};
  Geometry geometry{};
  Guid id{};
  std::optional<Guid> disk_id{};  ///< VHDX page 83 id, VHD unique id.
  std::optional<ParentLink> parent{};
};
Result<ImageFacts> facts_of(const Workshop& shop, Format format, const HeldFile& held);

/// Layers over files that are held, the first on top. `writable`: the first is. What the last one
/// does not store reads as zeros and maps as a hole when `complete`, and fails to read otherwise.
Result<std::unique_ptr<detail::DiskState>> layers_over(const Workshop& shop, Format format,
                                                       std::span<const HeldFile* const> files,
                                                       bool writable, bool complete);

/// What `child` is to say once `parent` is its parent.
ParentChange change_to(const std::string& child, const HeldFile& parent, const Guid& parent_id);

}  // namespace openvhd::snapshot
