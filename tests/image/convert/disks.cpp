#include "image/convert/disks.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

#include "image/convert/fake_endpoint.hpp"
#include "image/convert/zero_scan.hpp"

namespace openvhd::test {

std::vector<std::byte> contents_with_holes(std::size_t size, std::uint64_t seed) {
  auto bytes = pattern(size, seed);
  std::mt19937_64 random{seed};
  constexpr std::size_t kLongest[] = {2000, 60000, 700000, 5000000};
  for (std::size_t at = random() % 50000; at < size;) {
    const std::size_t length = std::min(size - at, random() % kLongest[random() % 4] + 1);
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length, std::byte{0});
    at += length + random() % kLongest[random() % 4] + 1;
  }
  return bytes;
}

std::string make_image(const std::string& path, const CreateOptions& options,
                       const std::vector<std::byte>& bytes) {
  CreateOptions create = options;
  create.virtual_size = bytes.size();
  if (const Status made = openvhd::create(path, create); !made) {
    return describe(made.error(), path);
  }
  auto disk = Disk::open(path, {.access = Access::read_write, .format = options.format});
  if (!disk) return describe(disk.error(), path);
  for (std::size_t at = 0; at < bytes.size();) {
    const ByteRun run = next_data_run(bytes, at, {.unit = 512, .gap = 4096});
    if (run.length == 0) break;
    const Status put = disk->write({run.at}, std::span{bytes}.subspan(run.at, run.length));
    if (!put) return describe(put.error(), path);
    at = run.at + run.length;
  }
  if (const Status closed = disk->close(); !closed) return describe(closed.error(), path);
  return {};
}

std::vector<std::byte> read_image(const std::string& path, std::optional<Format> format) {
  auto disk = Disk::open(path, {.format = format});
  EXPECT_TRUE(disk) << describe(disk.error(), path);
  if (!disk) return {};
  std::vector<std::byte> bytes(disk->geometry().virtual_size);
  const Status got = disk->read({0}, bytes);
  EXPECT_TRUE(got) << describe(got.error(), path);
  return bytes;
}

std::vector<std::string> names_in(const std::filesystem::path& directory) {
  std::vector<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator{directory}) {
    all.push_back(entry.path().filename());
  }
  std::ranges::sort(all);
  return all;
}

std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  std::vector<char> text{std::istreambuf_iterator<char>{in}, {}};
  std::vector<std::byte> bytes(text.size());
  std::ranges::transform(text, bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
  return bytes;
}

void write_file(const std::string& path, const std::vector<std::byte>& bytes) {
  std::ofstream out{path, std::ios::binary};
  std::ranges::for_each(bytes, [&out](std::byte b) { out.put(static_cast<char>(b)); });
}

}  // namespace openvhd::test
