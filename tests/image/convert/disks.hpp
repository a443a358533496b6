/// Images with known contents, made and read through the public interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <string>
#include <vector>

namespace openvhd::test {

/// A format and a type: what a conversion can start from and end in.
struct Kind {
  const char* name;
  Format format;
  DiskType type;
};

inline constexpr Kind kKinds[] = {
    {"raw", Format::raw, DiskType::fixed},     {"vhd_fixed", Format::vhd, DiskType::fixed},
    {"vhd", Format::vhd, DiskType::dynamic},   {"vhdx_fixed", Format::vhdx, DiskType::fixed},
    {"vhdx", Format::vhdx, DiskType::dynamic},
};

/// `size` bytes: data, zeros in the middle of data, and long runs of nothing.
std::vector<std::byte> contents_with_holes(std::size_t size, std::uint64_t seed);

/// A new image that holds `bytes`; runs of zeros are not written. Empty: it worked.
std::string make_image(const std::string& path, const CreateOptions& options,
                       const std::vector<std::byte>& bytes);

/// What the disk reads as; empty, with a failed expectation, when it does not open.
std::vector<std::byte> read_image(const std::string& path, std::optional<Format> format);

/// Names in a directory, sorted.
std::vector<std::string> names_in(const std::filesystem::path& directory);

/// The bytes of a file.
std::vector<std::byte> read_file(const std::string& path);
void write_file(const std::string& path, const std::vector<std::byte>& bytes);

}  // namespace openvhd::test
