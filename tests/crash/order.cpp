#include "crash/order.hpp"

#include <optional>

#include "crash/verify/bytes.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;
constexpr std::uint64_t kFooterBytes = 512;

bool is_footer(const SimDisk::Op& op) {
  return op.kind == Kind::write && op.at != 0 && op.length == kFooterBytes &&
         verify::spells(op.bytes, 0, "conectix");
}

bool destroys(const SimDisk::Op& op, std::uint64_t footer) {
  if (op.kind == Kind::set_size) return op.at < footer + kFooterBytes;
  if (op.kind != Kind::write && op.kind != Kind::zero && op.kind != Kind::punch) return false;
  return op.at < footer + kFooterBytes && footer < op.at + op.length;
}

bool changes(const SimDisk::Op& op) {
  return op.result >= 0 && op.kind != Kind::read && op.kind != Kind::sync;
}

bool is_header(const SimDisk::Op& op) {
  return op.kind == Kind::write && (op.at == 64 * 1024 || op.at == 128 * 1024);
}

std::string header_order(const SimDisk& disk, const std::vector<std::uint64_t>& opens) {
  for (std::size_t i = 0; i < opens.size(); ++i) {
    const std::uint64_t end = i + 1 < opens.size() ? opens[i + 1] : ~std::uint64_t{0};
    const SimDisk::Op* header = nullptr;
    for (const SimDisk::Op& op : disk.ops()) {
      if (op.tick < opens[i] || op.tick >= end || !changes(op)) continue;
      if (header != nullptr && header->stable_at < op.tick) break;
      if (header != nullptr || !is_header(op))
        return "command " + std::to_string(op.tick) + " before the header is durable (X19)";
      header = &op;
    }
  }
  return {};
}

std::string footer_order(const SimDisk& disk) {
  std::optional<std::uint64_t> current;  // the last one that is durable
  if (const std::uint64_t size = disk.initial().size; size >= kFooterBytes) {
    std::array<std::byte, kFooterBytes> last{};
    if (disk.initial().read(size - kFooterBytes, last) == last.size() &&
        verify::spells(last, 0, "conectix"))
      current = size - kFooterBytes;
  }
  std::optional<SimDisk::Op> next;
  for (const SimDisk::Op& op : disk.ops()) {
    if (op.result < 0) continue;
    if (next && next->stable_at < op.tick) {
      current = next->at;
      next.reset();
    }
    if (is_footer(op)) {
      next = op;
    } else if (current && destroys(op, *current)) {
      return "command " + std::to_string(op.tick) +
             " destroys the footer before the next is durable (V08)";
    }
  }
  return {};
}

}  // namespace

std::string broken_order(const Shape& shape, const SimDisk& disk,
                         const std::vector<std::uint64_t>& opens) {
  if (shape.format == Format::vhdx) return header_order(disk, opens);
  return shape.type == DiskType::fixed ? std::string{} : footer_order(disk);
}

}  // namespace openvhd::test
