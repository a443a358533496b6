#include "image/convert/convert_spool.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/buffers.hpp"
#include "image/convert/zero_scan.hpp"
#include "image/open.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kChunk = 1 * kMiB;

Status write_runs(File& file, std::uint64_t at, std::span<const std::byte> bytes, bool sparse,
                  Spooled& done) {
  if (!sparse) return file.write_all({at}, bytes);
  std::size_t position = 0;
  while (position < bytes.size()) {
    const ByteRun run = next_data_run(bytes, position, {});
    if (run.length == 0) break;
    done.zero_bytes += run.at - position;
    OVHD_CHECK(file.write_all({at + run.at}, bytes.subspan(run.at, run.length)));
    position = run.at + run.length;
  }
  done.zero_bytes += bytes.size() - position;
  return Ok{};
}

/// Bytes of a stream, for what looks at files.
class SeenBytes final : public File {
 public:
  explicit SeenBytes(std::span<const std::byte> bytes) noexcept : bytes_{bytes} {}

  std::int32_t execute(const IoCommand& command) noexcept override {
    if (command.kind != IoCommand::Kind::read) return -EROFS;
    std::size_t at = std::min<std::uint64_t>(command.at.value, bytes_.size());
    const std::size_t from = at;
    for (const iovec& piece : command.buffers) {
      const std::size_t length = std::min(piece.iov_len, bytes_.size() - at);
      std::ranges::copy(bytes_.subspan(at, length), static_cast<std::byte*>(piece.iov_base));
      at += length;
    }
    return static_cast<std::int32_t>(at - from);
  }
  Result<std::uint64_t> size() noexcept override { return std::uint64_t{bytes_.size()}; }
  std::uint64_t allocated_bytes() noexcept override { return 0; }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override {
    return FileRange{.at = at, .length = end - at};
  }
  FileIdentity identity() const noexcept override { return {}; }
  const std::string& name() const noexcept override { return name_; }
  bool writable() const noexcept override { return false; }

 private:
  std::span<const std::byte> bytes_;
  std::string name_;
};

Status refuse_image_in(std::span<const std::byte> bytes) {
  SeenBytes seen{bytes};
  return refuse_image(seen);
}

/// The last bytes of a stream: where a fixed VHD has its footer.
class Tail {
 public:
  void add(std::span<const std::byte> bytes) noexcept {
    const std::size_t taken = std::min(bytes.size(), kept_.size());
    const std::size_t stays = std::min(kept_.size() - taken, length_);
    std::ranges::copy(std::span{kept_}.subspan(length_ - stays, stays), kept_.begin());
    std::ranges::copy(bytes.last(taken), kept_.begin() + static_cast<std::ptrdiff_t>(stays));
    length_ = stays + taken;
  }
  std::span<const std::byte> bytes() const noexcept { return std::span{kept_}.first(length_); }

 private:
  std::array<std::byte, 512> kept_{};
  std::size_t length_ = 0;
};

/// Moves one stream into one file.
class Spooler {
 public:
  Spooler(Stream& stream, File& file, const SpoolOptions& options) noexcept
      : stream_{stream}, file_{file}, options_{options} {}

  /// False at the end.
  Result<bool> move_chunk(std::span<std::byte> memory, bool& stream_failed);
  const Spooled& done() const noexcept { return done_; }

 private:
  Status judge(std::span<const std::byte> bytes, bool last);

  Stream& stream_;
  File& file_;
  const SpoolOptions& options_;
  Spooled done_;
  Tail tail_;
};

Status Spooler::judge(std::span<const std::byte> bytes, bool last) {
  if (last && done_.length + bytes.size() == 0) {
    return Error{.code = Errc::invalid, .what = "nothing came from standard input"};
  }
  if (options_.images_too) return Ok{};
  tail_.add(bytes);
  if (done_.length == 0) OVHD_CHECK(refuse_image_in(bytes));
  return last ? refuse_image_in(tail_.bytes()) : Status{Ok{}};
}

Result<bool> Spooler::move_chunk(std::span<std::byte> memory, bool& stream_failed) {
  stream_failed = true;
  OVHD_TRY(const std::size_t got, stream_.read_full(memory));
  const auto bytes = memory.first(got);
  const bool last = got < memory.size();
  OVHD_CHECK(judge(bytes, last));
  stream_failed = false;
  OVHD_CHECK(write_runs(file_, done_.length, bytes, options_.sparse, done_));
  done_.length += got;
  if (options_.progress != nullptr && !options_.progress->update(done_.length, done_.length)) {
    return Error{.code = Errc::cancelled, .what = "stopped on request"};
  }
  return !last;
}

}  // namespace

Status refuse_image(File& file) {
  OVHD_TRY(const auto format, probe(file));
  if (!format) return Ok{};
  return Error{.code = Errc::invalid,
               .what =
                   "looks like a VHD or VHDX image: name --from raw to take its bytes for the "
                   "disk, or convert the image from its file"};
}

Result<Spooled> spool(Stream stream, File& file, const SpoolOptions& options, bool& stream_failed) {
  const AlignedBuffer memory{kChunk};
  if (memory.span().empty()) {
    return Error{.code = Errc::io, .sys_errno = ENOMEM, .what = "a buffer for standard input"};
  }
  stream.ask(options.progress);
  Spooler spooler{stream, file, options};
  for (;;) {
    OVHD_TRY(const bool more, spooler.move_chunk(memory.span(), stream_failed));
    if (!more) return spooler.done();
  }
}

}  // namespace openvhd
