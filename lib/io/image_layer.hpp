/// A layer that came out of an image file: what chains, info and messages need beside the data.
#pragma once

#include <cstdint>
#include <memory>
#include <openvhd/disk_info.hpp>
#include <openvhd/error.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/file.hpp"
#include "io/host.hpp"
#include "io/layer.hpp"

namespace openvhd {

/// A name under which an image proposes its parent.
struct ParentPath {
  enum class Kind : std::uint8_t {
    relative,  ///< VHDX relative_path, VHD W2ru: the only kind that is followed by itself.
    absolute,  ///< VHDX absolute_win32_path, VHD W2ku.
    volume,    ///< VHDX volume_path.
    other,     ///< Deprecated or foreign locators (Wi2r, Wi2k, MacX), the VHD parent name.
  };
  Kind kind{};
  const char* key = "";  ///< As the format calls it: "relative_path", "W2ru".
  std::string text{};    ///< UTF-8.
};

/// What a differencing image says of its parent.
struct ParentLink {
  std::vector<ParentPath> paths{};  ///< In the order in which they are to be tried.
  Guid linkage{};                   ///< VHDX parent_linkage; VHD parent unique id.
  std::optional<Guid> linkage2{};   ///< VHDX parent_linkage2.
  std::uint32_t timestamp = 0;      ///< VHD parent time stamp; 0 where not recorded. Reported only.
};

/// What a differencing image, not opened by anybody, is to say of its parent from now on. What is
/// empty stays.
struct ParentChange {
  std::optional<Guid> linkage{};   ///< The id by which the parent is known.
  std::optional<Guid> linkage2{};  ///< VHDX: the id that it is about to get; nil: none.
  /// UTF-8, with backslashes; all other paths go away, since they would lead elsewhere.
  std::optional<std::string> relative{};
  std::string name{};           ///< VHD, with `relative`: the file name of the parent.
  std::uint32_t timestamp = 0;  ///< VHD, with `linkage`: when the parent was changed last.
};

/// What a layer has done since it was opened.
struct LayerCounters {
  std::uint64_t allocated_blocks = 0;
  std::uint64_t commits = 0;  ///< Groups of changed metadata that became durable.
};

class ImageLayer : public Layer {
 public:
  virtual DiskType type() const noexcept = 0;
  /// Everything about this file but `path`, `file_size`, `allocated_bytes` and `blocks`.
  virtual LayerInfo info() const = 0;
  /// Reads the whole table, holes in it skipped; gives up with Errc::out_of_range when more than
  /// `max_table_bytes` would be read.
  virtual Result<BlockCounts> count_blocks(File& file, std::uint64_t max_table_bytes) = 0;
  /// The owner's, as all that does not say "any thread".
  virtual LayerCounters counters() const noexcept { return {}; }
  /// Null unless differencing.
  virtual const ParentLink* parent_link() const noexcept = 0;
  /// The id by which children know this image: VHDX DataWriteGuid, VHD unique id.
  virtual Guid link_identity() const noexcept = 0;
  /// What link_identity() is from the first change on, where the format has a new one for each
  /// writer: the same as before when what the disk reads as will not change. Before that change.
  virtual void set_link_identity(const Guid&) noexcept {}
};

/// An opened image file: the layer and the file its commands run on, which may be an in-memory
/// overlay over the one that was given.
struct OpenedImage {
  std::unique_ptr<File> file{};
  std::unique_ptr<ImageLayer> layer{};
  /// link_identity() before anything was written, where somebody notes it.
  Guid first_id{};
};

/// How a format is asked to open a file. A writable open of a dirty image replays its log into
/// the file; a read-only one replays it into memory. A file opened read-only is never written.
struct LayerOpenOptions {
  bool writable = false;
  std::uint64_t table_cache_bytes = 64 * 1024 * 1024;  ///< Most memory for table pages.
};

}  // namespace openvhd
