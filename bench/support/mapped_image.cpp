#include "support/mapped_image.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <openvhd/create.hpp>
#include <utility>

#include "base/fd.hpp"
#include "base/stored.hpp"
#include "io/posix_file.hpp"
#include "vhd/parse.hpp"
#include "vhdx/layout.hpp"
#include "vhdx/load.hpp"

namespace openvhd::bench {
namespace {

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result) give_up(result.error().what);
  return std::move(*result);
}

std::unique_ptr<PosixFile> open_file(const std::string& path) {
  return must(PosixFile::open(path, {}));
}

/// Writes past every lock: nobody else knows the file yet.
class Writer {
 public:
  explicit Writer(const std::string& path) : fd_{::open(path.c_str(), O_RDWR | O_CLOEXEC)} {}

  void write(const void* bytes, std::size_t length, std::uint64_t at) const {
    if (::pwrite(fd_.get(), bytes, length, static_cast<off_t>(at)) != static_cast<ssize_t>(length))
      give_up("write");
  }
  void read(void* into, std::size_t length, std::uint64_t at) const {
    if (::pread(fd_.get(), into, length, static_cast<off_t>(at)) != static_cast<ssize_t>(length))
      give_up("read");
  }
  void resize(std::uint64_t bytes) const {
    if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) give_up("ftruncate");
  }

 private:
  Fd fd_;
};

void store_vhdx_blocks(const std::string& path) {
  const auto image = must(vhdx::load_image(open_file(path), false, system_host())).image;
  std::vector<Le64> table(image.counts.entries);
  std::uint64_t at = align_up(image.file_bytes, kMiB);
  for (std::uint64_t block = 0; block < image.counts.payload_blocks; ++block) {
    const auto entry = vhdx::BatEntry::make(vhdx::PayloadState::fully_present, {at});
    table[vhdx::payload_index(block, image.counts.chunk_ratio)] = Le64{entry.raw};
    at += image.geometry.block_size;
  }
  const Writer file{path};
  file.write(table.data(), table.size() * sizeof(Le64), image.bat.at.value);
  file.resize(at);
}

void store_vhd_blocks(const std::string& path) {
  vhd::ParsedImage image;
  const auto file_in = open_file(path);
  if (auto status = vhd::parse(*file_in, image); !status) give_up(status.error().what);
  const Writer file{path};
  const std::vector<std::byte> bitmap(image.bitmap_length, std::byte{0xff});
  std::vector<Be32> table(image.blocks);
  std::uint64_t at = image.data_limit();
  for (Be32& entry : table) {
    entry = Be32{static_cast<std::uint32_t>(at / 512)};
    file.write(bitmap.data(), bitmap.size(), at);
    at += image.stride();
  }
  file.write(table.data(), table.size() * sizeof(Be32), image.table_at.value);
  std::array<std::byte, 512> footer{};
  file.read(footer.data(), footer.size(), 0);
  file.write(footer.data(), footer.size(), at);
}

std::string new_folder() {
  const char* const base = std::getenv("TMPDIR");
  std::string name = std::string{base == nullptr ? "/tmp" : base} + "/openvhd-bench-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) give_up("mkdtemp");
  return name;
}

}  // namespace

MappedImage::MappedImage(const Shape& shape) : folder_{new_folder()} {
  const std::string ending = shape.format == Format::vhd ? ".vhd" : ".vhdx";
  for (std::uint32_t number = 0; number < shape.depth; ++number) {
    CreateOptions options;
    options.block_size = shape.block_size;
    if (number == 0) {
      options.virtual_size = shape.virtual_size;
    } else {
      options.type = DiskType::differencing;
      options.parent = paths_.back();
    }
    paths_.push_back(folder_ + "/" + std::to_string(number) + ending);
    if (auto made = create(paths_.back(), options); !made) give_up(made.error().what);
    if (number == 0) store_every_block(shape);
  }
}

void MappedImage::store_every_block(const Shape& shape) {
  if (shape.format == Format::vhd) {
    store_vhd_blocks(paths_.back());
  } else {
    store_vhdx_blocks(paths_.back());
  }
}

MappedImage::~MappedImage() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace openvhd::bench
