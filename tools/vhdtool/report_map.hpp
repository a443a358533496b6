/// Maps of a disk: a table, JSON and a picture. All take entries one by one, in order, and keep no
/// list of them: a large disk has millions.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <openvhd/disk.hpp>
#include <optional>
#include <string>
#include <vector>

#include "json.hpp"

namespace vhdtool {

const char* kind_name(openvhd::MapEntry::Kind kind) noexcept;

/// Entries that are one to the reader.
struct MapRun {
  openvhd::MapEntry entry = {};
  std::uint64_t pieces = 1;  ///< Stretches of the host file, where it is data.
};

class MapMerger {
 public:
  enum class By : std::uint8_t {
    extent,  ///< Contiguous in the host file: nothing is lost.
    kind,    ///< The same kind in the same file, wherever it lies: for people.
  };
  using Emit = std::function<void(const MapRun&)>;

  MapMerger(By by, Emit emit) : by_{by}, emit_{std::move(emit)} {}
  void add(const openvhd::MapEntry& entry);
  /// Emits the last run. Call once.
  void finish();

 private:
  By by_;
  Emit emit_;
  std::optional<MapRun> run_;
  openvhd::FileOffset data_end_{};
};

std::string map_header();
std::string map_row(const MapRun& run);
Json map_entry_json(const openvhd::MapEntry& entry);

/// How much of a disk is what.
class MapTotals {
 public:
  void add(const openvhd::MapEntry& entry);
  /// A line per file and kind, those that hold nothing left out.
  std::string text(const std::vector<std::string>& files) const;

 private:
  std::vector<std::uint64_t> data_;  // by layer
  std::uint64_t zero_ = 0;
  std::uint64_t hole_ = 0;
};

/// A picture of fixed size: the disk runs through rows of cells, each the same number of bytes,
/// coloured by what holds most of them and as dark as the share that is stored.
class SvgMap {
 public:
  SvgMap(std::uint64_t virtual_size, std::vector<std::string> files);
  void add(const openvhd::MapEntry& entry);
  /// The whole document. At most 64 by 32 cells and a legend line per file.
  std::string text() const;

 private:
  static constexpr std::size_t kZero = 64;  // data of layer n is class n
  static constexpr std::size_t kHole = 65;
  static constexpr std::size_t kClasses = 66;
  using Cell = std::array<std::uint64_t, kClasses>;

  struct Look {
    std::size_t shown = kHole;  // the class that colours it
    unsigned level = 0;         // 1 to 4: quarters of the cell
    friend bool operator==(const Look&, const Look&) = default;
  };

  Look look(const Cell& cell) const;
  std::string class_name(std::size_t index) const;
  std::string title(std::size_t first, std::size_t end) const;
  std::string row_text(std::size_t row) const;
  std::string legend() const;

  std::uint64_t virtual_size_;
  std::vector<std::string> files_;
  std::uint64_t cell_bytes_;
  std::vector<Cell> cells_;
};

}  // namespace vhdtool
