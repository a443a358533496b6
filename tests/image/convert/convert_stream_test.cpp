#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <openvhd/convert.hpp>
#include <thread>

#include "base/fd.hpp"
#include "image/convert/disks.hpp"
#include "image/convert/fake_endpoint.hpp"
#include "support/temp_dir.hpp"

namespace openvhd {
namespace {

using test::contents_with_holes;
using test::Kind;
using test::kKinds;
using test::read_image;

constexpr std::uint64_t kMiB = 1 << 20;
using Bytes = std::vector<std::byte>;

/// Another file under the number of a standard stream, for as long as this lives.
class Redirected {
 public:
  Redirected(int standard, const Fd& to) : standard_{standard}, saved_{::dup(standard)} {
    ::dup2(to.get(), standard);
  }
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;
  ~Redirected() { ::dup2(saved_.get(), standard_); }

 private:
  int standard_;
  Fd saved_;
};

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read = Fd{ends[0]};
    write = Fd{ends[1]};
  }
  Fd read;
  Fd write;
};

class ConvertStream : public testing::Test {
 protected:
  /// Converts what another thread writes into a pipe, in pieces of odd sizes.
  Result<ConvertResult> convert_piped(const Bytes& bytes, const ConvertOptions& options) {
    Pipe pipe;
    std::thread writer{[&bytes, end = std::move(pipe.write)]() mutable {
      for (std::size_t at = 0; at < bytes.size();) {
        const std::size_t piece = std::min<std::size_t>(bytes.size() - at, 77777);
        const ssize_t put = ::write(end.get(), bytes.data() + at, piece);
        if (put <= 0) break;
        at += static_cast<std::size_t>(put);
      }
      end = Fd{};
    }};
    auto result = [&] {
      const Redirected input{STDIN_FILENO, pipe.read};
      return convert(options);
    }();
    pipe.read = Fd{};
    writer.join();
    return result;
  }
  ConvertOptions from_input(const Kind& to) const {
    ConvertOptions options;
    options.source = "-";
    options.target = directory_ / "target";
    options.create.format = to.format;
    options.create.type = to.type;
    options.create.overwrite = true;
    return options;
  }
  /// What a conversion to standard output writes.
  Bytes convert_out(ConvertOptions options) {
    options.target = "-";
    Pipe pipe;
    Bytes out;
    std::thread reader{[&out, end = std::move(pipe.read)] {
      std::array<std::byte, 65536> piece;
      for (;;) {
        const ssize_t got = ::read(end.get(), piece.data(), piece.size());
        if (got <= 0) break;
        out.insert(out.end(), piece.begin(), piece.begin() + got);
      }
    }};
    {
      const Redirected output{STDOUT_FILENO, pipe.write};
      const auto result = convert(options);
      EXPECT_TRUE(result) << result.error().what;
    }
    pipe.write = Fd{};
    reader.join();
    return out;
  }

  test::TempDir directory_;
};

class ConvertPipe : public ConvertStream, public testing::WithParamInterface<Kind> {};
INSTANTIATE_TEST_SUITE_P(All, ConvertPipe, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string{kind.param.name}; });

TEST_P(ConvertPipe, APipeOfAnyLengthBecomesADisk) {
  for (const std::uint64_t size : {std::uint64_t{1}, kMiB, 7 * kMiB + 1234}) {
    Bytes bytes = contents_with_holes(size, size);
    const auto result = convert_piped(bytes, from_input(GetParam()));
    ASSERT_TRUE(result) << result.error().what;
    bytes.resize((size + 511) / 512 * 512);
    EXPECT_EQ(result->virtual_size, bytes.size());
    EXPECT_TRUE(read_image(directory_ / "target", GetParam().format) == bytes) << size;
    EXPECT_EQ(test::names_in(directory_.path()), (std::vector<std::string>{"target"}));
  }
}

TEST_P(ConvertPipe, AFileOnStandardInputIsReadAsOne) {
  const Bytes bytes = contents_with_holes(5 * kMiB, 3);
  const std::string source = directory_ / "source";
  test::write_file(source, bytes);
  const Fd file{::open(source.c_str(), O_RDONLY | O_CLOEXEC)};
  const Redirected input{STDIN_FILENO, file};
  const auto result = convert(from_input(GetParam()));
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_TRUE(read_image(directory_ / "target", GetParam().format) == bytes);
}

TEST_F(ConvertStream, AFileThatWasReadInPartGoesOnFromThere) {
  Bytes bytes = contents_with_holes(5 * kMiB, 3);
  const std::string source = directory_ / "source";
  test::write_file(source, bytes);
  const Fd file{::open(source.c_str(), O_RDONLY | O_CLOEXEC)};
  ASSERT_EQ(::lseek(file.get(), kMiB, SEEK_SET), static_cast<off_t>(kMiB));
  const Redirected input{STDIN_FILENO, file};
  ASSERT_TRUE(convert(from_input(kKinds[4])));
  bytes.erase(bytes.begin(), bytes.begin() + kMiB);
  EXPECT_TRUE(read_image(directory_ / "target", Format::vhdx) == bytes);
}

TEST_F(ConvertStream, APartOfAPipeAndALargerDisk) {
  Bytes bytes = contents_with_holes(3 * kMiB, 3);
  auto options = from_input(kKinds[0]);
  options.create.virtual_size = 9 * kMiB;
  ASSERT_TRUE(convert_piped(bytes, options));
  Bytes larger = bytes;
  larger.resize(9 * kMiB);
  EXPECT_TRUE(read_image(options.target, Format::raw) == larger);
  auto part = from_input(kKinds[0]);
  part.offset = {kMiB};
  part.length = kMiB;
  ASSERT_TRUE(convert_piped(bytes, part));
  EXPECT_TRUE(std::ranges::equal(read_image(part.target, Format::raw),
                                 std::span{bytes}.subspan(kMiB, kMiB)));
}

TEST_F(ConvertStream, APipeThatCannotBeConvertedLeavesNothing) {
  EXPECT_EQ(convert_piped({}, from_input(kKinds[4])).error().code, Errc::invalid);
  EXPECT_EQ(convert_piped({}, from_input(kKinds[0])).error().code, Errc::invalid);
  auto vhdx = from_input(kKinds[0]);
  vhdx.source_format = Format::vhdx;
  EXPECT_EQ(convert_piped({}, vhdx).error().code, Errc::invalid);
  auto part = from_input(kKinds[4]);
  part.length = 2 * kMiB;
  EXPECT_EQ(convert_piped(test::pattern(kMiB, 1), part).error().code, Errc::out_of_range);
  auto output = from_input(kKinds[0]);
  output.target = "-";
  EXPECT_EQ(convert_piped({}, output).error().code, Errc::invalid);
  EXPECT_TRUE(test::names_in(directory_.path()).empty());
}

TEST_F(ConvertStream, AFixedVhdIsSeenAtItsEndWhereverThatFallsInAPiece) {
  for (const std::uint64_t size : {512 * std::uint64_t{3}, kMiB - 512, kMiB, 2 * kMiB - 1024}) {
    const std::string image = directory_ / "fixed.vhd";
    ASSERT_EQ(test::make_image(image, {.type = DiskType::fixed}, test::pattern(size, 1)), "");
    auto bytes = test::read_file(image);
    std::filesystem::remove(image);
    for (unsigned cut = 0; cut < 2; ++cut) {  // some programs write 511 bytes
      for (const Kind& to : {kKinds[0], kKinds[4]}) {
        auto options = from_input(to);
        OpenReport report;
        options.report = &report;
        const auto result = convert_piped(bytes, options);
        ASSERT_FALSE(result) << size;
        EXPECT_EQ(result.error().code, Errc::invalid);
        EXPECT_EQ(report.files, std::vector<std::string>{"-"});
        EXPECT_TRUE(test::names_in(directory_.path()).empty());
        options.source_format = Format::raw;
        EXPECT_TRUE(convert_piped(bytes, options));
        std::filesystem::remove(options.target);
      }
      bytes.pop_back();
    }
  }
}

TEST_F(ConvertStream, RawAndFixedVhdGoToStandardOutput) {
  const Bytes bytes = contents_with_holes(9 * kMiB + 512, 3);
  const std::string source = directory_ / "source.vhdx";
  ASSERT_EQ(test::make_image(source, {}, bytes), "");
  ConvertOptions options;
  options.source = source;
  EXPECT_TRUE(convert_out(options) == bytes);
  options.create.format = Format::vhd;
  options.create.type = DiskType::fixed;
  const Bytes vhd = convert_out(options);
  ASSERT_EQ(vhd.size(), bytes.size() + 512);
  test::write_file(directory_ / "out.vhd", vhd);
  EXPECT_TRUE(read_image(directory_ / "out.vhd", std::nullopt) == bytes);
}

TEST_F(ConvertStream, AReaderThatGoesAwayEndsIt) {
  const std::string source = directory_ / "source.raw";
  test::write_file(source, test::pattern(4 * kMiB, 1));
  ConvertOptions options;
  options.source = source;
  options.source_format = Format::raw;
  options.target = "-";
  Pipe pipe;
  pipe.read = Fd{};
  ASSERT_NE(::signal(SIGPIPE, SIG_IGN), SIG_ERR);
  const auto result = [&] {
    const Redirected output{STDOUT_FILENO, pipe.write};
    return convert(options);
  }();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().sys_errno, EPIPE);
}

}  // namespace
}  // namespace openvhd
