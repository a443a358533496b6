/// Where new blocks go: space that is known to read as zeros and to have room on the host, so
/// that neither a crash nor a full host shows through a mapped block (D4, L09, FORMAT 39-40).
#pragma once

#include <cstdint>
#include <deque>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <vector>

#include "io/layer.hpp"
#include "vhdx/bat_math.hpp"
#include "vhdx/engine_transfer.hpp"
#include "vhdx/space_map.hpp"

namespace openvhd::vhdx {

/// Whole MiB of the file.
struct SpaceRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};
/// The same, and since which growth it reads as zeros.
struct FreshRun : SpaceRun {
  std::uint64_t growth = 0;
};

/// Space comes from, in this order: what is fresh (reserved or zeroed, and zeros), what nobody
/// owns (zeroed first: it may hold another block's bytes), the end of the file (reserved in large
/// steps). Freed space is kept apart until the change that freed it is durable and nobody can
/// write to it any more. One command for space is on its way at a time. Not thread safe.
class Space {
 public:
  Space(std::uint64_t file_bytes, std::span<const OwnedRange> fixed);

  /// How often space was made that reads as zeros: grown or zeroed.
  std::uint64_t growths() const noexcept { return growths_; }
  /// Of what take() gave last: the value of growths() since which it reads as zeros.
  std::uint64_t taken_growth() const noexcept { return taken_growth_; }

  /// Size of the file, as far as commands of this class have completed.
  std::uint64_t file_bytes() const noexcept { return file_bytes_; }

  /// An entry of the table owns this range. False: somebody owned a part of it already (X14).
  bool claim(FileOffset at, std::uint64_t length) { return owned_.claim(mib(at), length / kMiB); }
  /// Something names this range that must not be used for anything else, and may overlap: soft
  /// anchors, bitmap blocks of files without a parent.
  void avoid(FileOffset at, std::uint64_t length) { avoided_.mark(mib(at), length / kMiB); }

  /// Takes `length` bytes (whole MiB) that read as zeros. All of the table has been claimed.
  /// `most` bounds how far the file is worth growing for what may still come. Errors: no_space,
  /// io; then nothing has changed.
  Step<FileOffset> take(std::uint64_t length, std::uint64_t most) noexcept;

  /// Takes back what take() gave, and nobody wrote to or named.
  void give_back(FileOffset at, std::uint64_t length) {
    add_fresh({{mib(at), length / kMiB}, growths_});
  }

  /// Takes the first `length` bytes that nobody owns and that end at `below` at most, whatever they
  /// hold: for who writes all of them before they are named.
  std::optional<FileOffset> claim_hole(std::uint64_t length, FileOffset below) noexcept;
  /// Takes back what claim_hole() gave, and nobody named.
  void drop_hole(FileOffset at, std::uint64_t length) noexcept {
    owned_.release(mib(at), length / kMiB);
    none_of_ = 0;
  }

  /// Gives up a range. It is used again once group `group` is durable and every operation up to
  /// `serial` has left.
  void free(FileOffset at, std::uint64_t length, std::uint64_t group, std::uint64_t serial);
  /// The same for a range that was only avoided.
  void free_avoided(FileOffset at, std::uint64_t length, std::uint64_t group, std::uint64_t serial);
  /// Moves on what has become free for good. `oldest` is the serial of the oldest operation on
  /// its way.
  void ripen(std::uint64_t durable_group, std::uint64_t oldest);
  /// Gives freed space back to the host: one command at a time. Ok: nothing to do now. A host that
  /// refuses is not an error: the space stays free.
  Step<Ok> punch() noexcept;

  /// Where the file may end when nothing is in flight: behind the last byte that is owned.
  std::uint64_t owned_end() const noexcept;
  /// Leaves unused fresh space to be punched or cut off; nothing more will be taken.
  void retire();

  void complete(TokenKind kind, std::int32_t result) noexcept;

 private:
  struct Freed {
    SpaceRun run;
    std::uint64_t group = 0;
    std::uint64_t serial = 0;
    bool avoided = false;
  };
  enum class Growth : std::uint8_t { zero, reserve };

  static std::uint64_t mib(FileOffset at) noexcept { return at.value / kMiB; }
  std::optional<SpaceRun> take_fresh(std::uint64_t count) noexcept;
  std::optional<std::uint64_t> find_unowned(std::uint64_t count) noexcept;
  std::optional<std::uint64_t> search_unowned(std::uint64_t from, std::uint64_t end,
                                              std::uint64_t count) const noexcept;
  void add_freed(const Freed& freed);
  void add_fresh(FreshRun run);
  SpaceRun growth_run(std::uint64_t count, std::uint64_t most) const noexcept;
  IoCommand start(Growth kind, SpaceRun run, std::uint64_t least) noexcept;
  void grown() noexcept;
  void not_grown(const Error& error) noexcept;

  std::uint64_t file_bytes_;
  SpaceMap owned_;    // also what is fresh, freed or unpunched
  SpaceMap avoided_;  // owned by nobody for certain, and not to be used
  std::vector<FreshRun> fresh_;
  std::uint64_t growths_ = 0;
  std::uint64_t taken_growth_ = 0;
  std::deque<Freed> freed_;
  std::vector<SpaceRun> unpunched_;
  std::uint64_t search_from_ = 0;  // where the last unowned run was found
  std::uint64_t none_of_ = 0;      // no unowned run is this long, in MiB; 0: not known

  std::optional<Transfer> growth_;  // on its way
  Growth growth_kind_{};
  SpaceRun growing_{};
  std::uint64_t growing_least_ = 0;
  bool smallest_step_ = false;
  std::uint64_t step_ = 0;                // MiB
  std::optional<Error> growth_error_;     // until somebody has been told who needs as much
  std::uint64_t growth_error_count_ = 0;  // MiB that there was no room for

  std::optional<Transfer> punch_;
  SpaceRun punching_{};
};

}  // namespace openvhd::vhdx
