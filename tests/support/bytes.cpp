#include "support/bytes.hpp"

#include <cstdio>
#include <cstdlib>

namespace openvhd::test {
namespace {

[[noreturn]] void give_up(const Error& error, const File& file) {
  std::fprintf(stderr, "%s\n", describe(error, file.name()).c_str());
  std::abort();
}

}  // namespace

std::vector<std::byte> read_all(File& file) {
  const auto size = file.size();
  if (!size) give_up(size.error(), file);
  if (*size > std::uint64_t{1} << 30) give_up({.what = "too large to read whole"}, file);
  return read_at(file, 0, static_cast<std::size_t>(*size));
}

std::vector<std::byte> read_at(File& file, std::uint64_t at, std::size_t length) {
  std::vector<std::byte> out(length);
  const auto status = file.read_exact({at}, out, "the file is shorter than the test expects");
  if (!status) give_up(status.error(), file);
  return out;
}

void patch(File& file, std::uint64_t at, std::span<const std::byte> bytes) {
  const auto status = file.write_all({at}, bytes);
  if (!status) give_up(status.error(), file);
}

void patch(File& file, std::uint64_t at, std::initializer_list<int> bytes) {
  std::vector<std::byte> out;
  for (const int v : bytes) out.push_back(static_cast<std::byte>(v));
  patch(file, at, out);
}

std::vector<std::byte> filled(std::size_t length, int value) {
  return std::vector<std::byte>(length, static_cast<std::byte>(value));
}

std::vector<std::byte> pattern(std::size_t length, std::uint64_t seed) {
  std::vector<std::byte> out(length);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (std::size_t i = 0; i < length; ++i) {
    if (i % 8 == 0) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
    }
    out[i] = static_cast<std::byte>(state >> (i % 8 * 8));
  }
  return out;
}

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  return {bytes.begin(), bytes.end()};
}

}  // namespace openvhd::test
