#include "snapshot/sim_chain.hpp"

#include <gtest/gtest.h>

#include "base/try.hpp"
#include "image/open.hpp"
#include "image/parent_change.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

std::string what(const Status& status) { return status ? "" : status.error().what; }

}  // namespace

Shape small_shape(Format format, std::uint32_t sector) {
  if (format == Format::vhdx) return {format, 4 << 20, 1 << 20, sector};
  return {format, 256 << 10, 32 << 10};
}

snapshot::Workshop SimChain::shop() {
  return {.store = *store_,
          .host = host_,
          .driver = DriverKind::blocking,
          .depth = 2,
          .milestone_bytes = shape_.milestone};
}

std::string SimChain::name(const std::string& stem) const {
  return stem + (shape_.format == Format::vhdx ? ".vhdx" : ".vhd");
}

void SimChain::create(const std::string& name, DiskType type) {
  const Geometry geometry{
      .virtual_size = shape_.size,
      .logical_sector_size = shape_.sector,
      .physical_sector_size = shape_.sector,
      .block_size = type == DiskType::fixed && shape_.format == Format::vhd ? 0 : shape_.block};
  const Status made = store_->create(name, [&](File& file) {
    return shape_.format == Format::vhdx
               ? vhdx::create(file, {.type = type, .geometry = geometry}, host_)
               : vhd::create(file, {.type = type, .geometry = geometry}, host_);
  });
  ASSERT_TRUE(made) << what(made);
}

void SimChain::create_child(const std::string& name, const std::string& parent,
                            std::uint64_t size) {
  auto above = open(parent, false);
  ASSERT_TRUE(above) << above.error().what;
  Geometry geometry = (*above)->geometry();
  if (size != 0) geometry.virtual_size = size;
  geometry.block_size = shape_.block;
  const Guid id = (*above)->image(0).link_identity();
  (*above).reset();
  const Status made = store_->create(name, [&](File& file) {
    return openvhd::create_child(
        shape_.format, file,
        {.geometry = geometry, .parent_linkage = id, .relative = ".\\" + parent, .name = parent},
        host_);
  });
  ASSERT_TRUE(made) << what(made);
}

Result<std::unique_ptr<detail::DiskState>> SimChain::open(const std::string& name, bool writable) {
  OpenedChain chain;
  chain.format = shape_.format;
  std::string next = name;
  while (chain.images.size() < 64) {
    const bool leaf = chain.images.empty();
    OVHD_TRY(auto file, store_->open(next, leaf && writable ? Lock::writer : Lock::reader));
    OVHD_TRY(OpenedImage image,
             open_layer(shape_.format, std::move(file), {.writable = leaf && writable}, host_));
    if (!leaf) OVHD_CHECK(verify_link(*chain.images.back().layer, *image.layer, false));
    chain.images.push_back(std::move(image));
    chain.paths.push_back(next);
    const ParentLink* link = chain.images.back().layer->parent_link();
    if (link == nullptr) break;
    OVHD_TRY(next, plain_parent_name(link->paths.front().text));
  }
  return std::make_unique<detail::DiskState>(
      std::move(chain), writable ? Access::read_write : Access::read_only, DriverKind::blocking);
}

Result<std::vector<std::string>> SimChain::chain(const std::string& name) {
  OVHD_TRY(auto disk, open(name, false));
  return disk->paths();
}

void SimChain::write(const std::string& name, std::uint64_t at, std::span<const std::byte> bytes) {
  auto disk = open(name, true);
  ASSERT_TRUE(disk) << disk.error().what;
  const Status written = (*disk)->write({at}, bytes);
  ASSERT_TRUE(written) << what(written);
  const Status closed = (*disk)->close();
  ASSERT_TRUE(closed) << what(closed);
}

void SimChain::zero(const std::string& name, std::uint64_t at, std::uint64_t length) {
  auto disk = open(name, true);
  ASSERT_TRUE(disk) << disk.error().what;
  const Status cleared = (*disk)->clear({at}, length, ClearKind::zero);
  ASSERT_TRUE(cleared) << what(cleared);
  const Status closed = (*disk)->close();
  ASSERT_TRUE(closed) << what(closed);
}

Result<Contents> SimChain::read(const std::string& name) {
  OVHD_TRY(auto disk, open(name, false));
  Contents out(disk->geometry().virtual_size);
  OVHD_CHECK(disk->read({}, out));
  return out;
}

std::vector<std::string> SimChain::errors_in(const std::string& name) {
  std::vector<std::string> out;
  auto file = store_->open(name, Lock::none);
  if (!file) return {file.error().what};
  std::vector<Finding> findings;
  const Status checked = shape_.format == Format::vhdx
                             ? vhdx::check(**file, findings, 100, nullptr)
                             : vhd::check(**file, false, findings, 100, nullptr);
  if (!checked) out.push_back(checked.error().what);
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::error) out.push_back(finding.text);
  }
  return out;
}

}  // namespace openvhd::test
