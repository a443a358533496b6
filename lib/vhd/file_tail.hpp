/// Where the footer of a sparse image stands: growth by rule V08.
#pragma once

#include <array>

#include "vhd/parse.hpp"
#include "vhd/pending.hpp"

namespace openvhd::vhd {

/// A new footer is durable, far ahead at the new end of the file, before any byte over the old
/// one is written; until then the copy at 0 speaks for the image. So at each moment one of the
/// two is whole, and one sync serves all blocks up to the new footer.
class FileTail {
 public:
  explicit FileTail(const ParsedImage& image);

  /// Blocks may lie below this: up to the durable footer at the end of the file. 0 where the
  /// file has none there.
  std::uint64_t limit() const noexcept { return limit_; }
  /// Bytes from here to limit() that no block was given have never been anything but zeros.
  std::uint64_t fresh_from() const noexcept { return fresh_from_; }

  /// Makes limit() at least `bytes`: in large steps, in smaller ones where the host has no room
  /// for those. no_space: nothing is different.
  Pending make_room(std::uint64_t bytes) noexcept;
  /// Puts the footer to `end`, a multiple of 512 with nothing of worth behind it, and cuts off
  /// the rest of the file.
  Pending settle(std::uint64_t end) noexcept;

  void complete(std::int32_t result) noexcept;
  /// The file has been changed.
  bool changed() const noexcept { return changed_; }
  /// Set once a command has failed in a way that leaves unknown what the file holds.
  const std::optional<Error>& lost() const noexcept { return lost_; }

 private:
  enum class Stage : std::uint8_t {
    idle,
    write_copy,
    sync_copy,
    reserve,
    write_footer,
    sync_footer,
    clear_old,
    cut,
    sync_cut,
  };

  void begin_growth(std::uint64_t bytes) noexcept;
  void begin(Stage stage) noexcept;
  Stage after(Stage stage) noexcept;
  Stage footer_is_durable() noexcept;
  void grown() noexcept;
  Pending run() noexcept;
  bool smaller_step() noexcept;

  std::array<std::byte, kFooterBytes> footer_{};
  std::array<std::byte, kFooterBytes> zeros_{};
  bool copy_is_current_;
  std::uint64_t file_size_;
  std::uint64_t limit_;
  std::uint64_t fresh_from_;
  // The footer that the next growth leaves behind; length 0 where there is none.
  std::uint64_t old_at_;
  std::uint64_t old_length_;

  Stage stage_ = Stage::idle;
  HostCall call_;
  bool settling_ = false;
  std::uint64_t needed_ = 0;  // by who asked
  std::uint64_t target_ = 0;  // where the footer goes
  std::uint64_t step_;
  bool changed_ = false;
  std::optional<Error> lost_;
};

}  // namespace openvhd::vhd
