#include <fmt/format.h>

#include <algorithm>

#include "report_map.hpp"
#include "size.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

constexpr std::size_t kCellsPerRow = 64;
constexpr std::size_t kRows = 32;
constexpr unsigned kCell = 14;       // pixels
constexpr unsigned kMargin = 12;     // pixels
constexpr unsigned kHead = 44;       // pixels above the cells
constexpr unsigned kLegendRow = 20;  // pixels
constexpr unsigned kWidth = kCellsPerRow * kCell + 2 * kMargin;

// Cells of whole 512-byte sectors, so that small disks have no empty ones.
std::uint64_t bytes_per_cell(std::uint64_t virtual_size) {
  constexpr std::uint64_t kCells = kCellsPerRow * kRows;
  const auto bytes = virtual_size / kCells + (virtual_size % kCells == 0 ? 0 : 1);
  return std::max<std::uint64_t>((bytes + 511) / 512 * 512, 512);
}

// Neighbouring layers differ most at the golden angle.
unsigned hue(std::size_t layer) { return static_cast<unsigned>((210 + layer * 137) % 360); }

}  // namespace

SvgMap::SvgMap(std::uint64_t virtual_size, std::vector<std::string> files)
    : virtual_size_{virtual_size},
      files_{std::move(files)},
      cell_bytes_{bytes_per_cell(virtual_size)},
      cells_(static_cast<std::size_t>((virtual_size + cell_bytes_ - 1) / cell_bytes_)) {}

void SvgMap::add(const openvhd::MapEntry& entry) {
  using Kind = openvhd::MapEntry::Kind;
  const auto layer = std::min<std::size_t>(entry.layer, kZero - 1);
  const auto kind = entry.kind == Kind::data ? layer : entry.kind == Kind::zero ? kZero : kHole;
  auto at = std::min(entry.at.value, virtual_size_);
  const auto end = at + std::min(entry.length, virtual_size_ - at);
  while (at < end) {
    const auto cell = at / cell_bytes_;
    const auto cell_end = std::min((cell + 1) * cell_bytes_, end);
    cells_[static_cast<std::size_t>(cell)][kind] += cell_end - at;
    at = cell_end;
  }
}

SvgMap::Look SvgMap::look(const Cell& cell) const {
  const auto* const most = std::max_element(cell.begin(), cell.begin() + kZero);
  if (*most == 0) return {.shown = cell[kZero] != 0 ? kZero : kHole, .level = 4};
  const auto quarters = (*most * 4 + cell_bytes_ - 1) / cell_bytes_;
  return {.shown = static_cast<std::size_t>(most - cell.begin()),
          .level = static_cast<unsigned>(std::min<std::uint64_t>(quarters, 4))};
}

std::string SvgMap::class_name(std::size_t index) const {
  if (index == kZero) return "zeros by metadata";
  if (index == kHole) return "hole";
  return index < files_.size() ? "data in " + xml_text(files_[index]) : "data";
}

std::string SvgMap::title(std::size_t first, std::size_t end) const {
  Cell sum{};
  for (std::size_t i = first; i < end; ++i) {
    for (std::size_t c = 0; c < kClasses; ++c) sum[c] += cells_[i][c];
  }
  const auto from = first * cell_bytes_;
  const auto to = std::min(end * cell_bytes_, virtual_size_);
  auto text = fmt::format("{:#x} to {:#x}", from, to);
  for (std::size_t c = 0; c < kClasses; ++c) {
    if (sum[c] != 0) text += fmt::format("; {} {}", human_size(sum[c]), class_name(c));
  }
  return text;
}

std::string SvgMap::row_text(std::size_t row) const {
  std::string out;
  const auto row_start = row * kCellsPerRow;
  const auto row_end = std::min(row_start + kCellsPerRow, cells_.size());
  for (auto first = row_start; first < row_end;) {
    const auto shown = look(cells_[first]);
    auto end = first + 1;
    while (end < row_end && look(cells_[end]) == shown) ++end;
    out += fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"c{} q{}\">"
        "<title>{}</title></rect>\n",
        kMargin + (first - row_start) * kCell, kHead + row * kCell, (end - first) * kCell - 1,
        kCell - 1, shown.shown, shown.level, title(first, end));
    first = end;
  }
  return out;
}

std::string SvgMap::legend() const {
  Cell sum{};
  for (const auto& cell : cells_) {
    for (std::size_t c = 0; c < kClasses; ++c) sum[c] += cell[c];
  }
  std::string out;
  auto y = kHead +
           static_cast<unsigned>((cells_.size() + kCellsPerRow - 1) / kCellsPerRow) * kCell +
           kMargin;
  for (std::size_t c = 0; c < kClasses; ++c) {
    if (sum[c] == 0 && c >= files_.size()) continue;
    out += fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"13\" height=\"13\" class=\"c{} q4\"/>"
        "<text x=\"{}\" y=\"{}\">{}: {}</text>\n",
        kMargin, y, c, kMargin + 20, y + 11, class_name(c), human_size(sum[c]));
    y += kLegendRow;
  }
  return out;
}

std::string SvgMap::text() const {
  const auto rows = (cells_.size() + kCellsPerRow - 1) / kCellsPerRow;
  const auto height = kHead + rows * kCell + 2 * kMargin + (files_.size() + 2) * kLegendRow;
  const auto name = files_.empty() ? std::string{} : xml_text(files_[0]);
  auto out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\">\n<title>Map of {2}</title>\n<style>\n"
      "text {{ font: 12px sans-serif; fill: #222 }}\n"
      ".q1 {{ fill-opacity: .4 }} .q2 {{ fill-opacity: .6 }} .q3 {{ fill-opacity: .8 }}\n"
      ".c{3} {{ fill: #d8d8d8 }} .c{4} {{ fill: #fff; stroke: #ccc; stroke-width: .5 }}\n",
      kWidth, height, name, kZero, kHole);
  for (std::size_t layer = 0; layer < std::min(files_.size(), kZero); ++layer)
    out += fmt::format(".c{} {{ fill: hsl({}, 65%, 42%) }}\n", layer, hue(layer));
  out += fmt::format(
      "</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
      "<text x=\"{}\" y=\"20\">{}: {}</text>\n<text x=\"{}\" y=\"36\">one cell is {}</text>\n",
      kMargin, name, human_size(virtual_size_), kMargin, human_size(cell_bytes_));
  for (std::size_t row = 0; row < rows; ++row) out += row_text(row);
  return out + legend() + "</svg>\n";
}

}  // namespace vhdtool
