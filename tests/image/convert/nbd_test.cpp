#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>

#include "image/convert/convert_pipeline.hpp"
#include "image/convert/endpoint_nbd.hpp"
#include "image/convert/fake_endpoint.hpp"
#include "image/convert/nbd_server.hpp"
#include "support/program.hpp"

namespace openvhd {
namespace {

using test::FakeEndpoint;
using test::NbdServer;
using test::pattern;
using test::TempDir;

constexpr std::uint64_t kMiB = 1 << 20;

class Nbd : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("nbdkit")) GTEST_SKIP() << "nbdkit is not installed";
  }
  std::unique_ptr<NbdServer> serve(const std::vector<std::string>& arguments) {
    auto server = NbdServer::nbdkit(directory_, arguments);
    EXPECT_TRUE(server) << "nbdkit did not start";
    return server;
  }
  static std::unique_ptr<NbdEndpoint> connect(const NbdServer& server, bool write) {
    std::string why;
    auto endpoint = NbdEndpoint::open(server.uri(), {.write = write}, why);
    EXPECT_TRUE(endpoint) << endpoint.error().what << " " << why;
    return endpoint ? *std::move(endpoint) : nullptr;
  }
  static Result<CopyCounts> copy(Endpoint& from, Endpoint& to) {
    const std::uint64_t size = from.traits().size;
    CopyPipeline pipeline{from, to, {.length = size, .total = to.traits().size}};
    auto counts = pipeline.run();
    if (counts) {
      if (const Status finished = to.finish(); !finished) return finished.error();
    }
    return counts;
  }
  static std::vector<std::byte> contents(const NbdServer& server) {
    const auto source = connect(server, false);
    if (!source) return {};
    FakeEndpoint into{pattern(source->traits().size, 9)};
    EXPECT_TRUE(copy(*source, into));
    return into.bytes();
  }
  static FakeEndpoint disk(std::uint64_t size) { return FakeEndpoint{pattern(size, size)}; }
  static std::vector<std::byte> bytes_with_holes(std::uint64_t size) {
    auto bytes = pattern(size, size);
    for (std::uint64_t at = 300000; at + 700000 < size; at += 1500000) {
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 700000, std::byte{0});
    }
    return bytes;
  }

  TempDir directory_;
};

TEST_F(Nbd, WhatIsWrittenReadsBack) {
  const std::uint64_t size = 20 * kMiB + 512;
  const auto server = serve({"memory", std::to_string(size)});
  ASSERT_TRUE(server);
  FakeEndpoint source{bytes_with_holes(size)};
  const auto target = connect(*server, true);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->traits().zeros, ZeroPolicy::leave) << "a new memory disk is known to be zero";
  ASSERT_TRUE(copy(source, *target));
  EXPECT_TRUE(contents(*server) == source.bytes());
}

TEST_F(Nbd, OldContentsOfATargetAreReplacedByZeros) {
  const std::uint64_t size = 12 * kMiB;
  for (const bool can_zero : {true, false}) {
    std::vector<std::string> arguments{"memory", std::to_string(size)};
    if (!can_zero) arguments.insert(arguments.begin(), "--filter=nozero");
    const auto server = serve(arguments);
    ASSERT_TRUE(server);
    auto before = disk(size);
    ASSERT_TRUE(copy(before, *connect(*server, true)));
    FakeEndpoint source{bytes_with_holes(8 * kMiB)};
    source.map_as(6 * kMiB, true);
    std::fill(source.bytes().begin() + 6 * kMiB, source.bytes().end(), std::byte{0});
    const auto target = connect(*server, true);
    ASSERT_TRUE(target);
    EXPECT_EQ(target->traits().zeros, can_zero ? ZeroPolicy::clear : ZeroPolicy::write);
    ASSERT_TRUE(copy(source, *target));
    auto expected = source.bytes();
    expected.resize(size);
    EXPECT_TRUE(contents(*server) == expected) << can_zero;
  }
}

TEST_F(Nbd, HolesOfAServerAreNotRead) {
  const auto server = serve({"data", "1*1000 @0x4000000 2*5000", "size=128M"});
  ASSERT_TRUE(server);
  const auto source = connect(*server, false);
  ASSERT_TRUE(source);
  FakeEndpoint target{std::vector<std::byte>(128 * kMiB)};
  target.traits().zeros = ZeroPolicy::leave;
  const auto counts = copy(*source, target);
  ASSERT_TRUE(counts);
  EXPECT_GE(counts->skipped_bytes, 126 * kMiB);
  EXPECT_EQ(target.bytes()[999], std::byte{1});
  EXPECT_EQ(target.bytes()[1000], std::byte{0});
  EXPECT_EQ(target.bytes()[0x4000000 + 4999], std::byte{2});
}

TEST_F(Nbd, BlockSizesOfAServerAreRespected) {
  const std::uint64_t size = 5 * kMiB + 65536;
  const auto server = serve({"--filter=blocksize-policy", "memory", std::to_string(size),
                             "blocksize-minimum=65536", "blocksize-preferred=65536",
                             "blocksize-maximum=524288", "blocksize-error-policy=error"});
  ASSERT_TRUE(server);
  FakeEndpoint source{bytes_with_holes(size - 1000)};
  const auto target = connect(*server, true);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->traits().alignment, 65536u);
  const auto counts = copy(source, *target);
  ASSERT_TRUE(counts) << counts.error().what << " " << counts.error().sys_errno;
  auto expected = source.bytes();
  expected.resize(size);
  EXPECT_TRUE(contents(*server) == expected);
  // A part that starts and ends inside blocks.
  const auto again = connect(*server, false);
  FakeEndpoint part{std::vector<std::byte>(2 * kMiB + 3)};
  CopyPipeline pipeline{
      *again, part, {.source_at = {70001}, .length = 2 * kMiB + 3, .total = 2 * kMiB + 3}};
  ASSERT_TRUE(pipeline.run());
  EXPECT_TRUE(std::ranges::equal(part.bytes(), std::span{expected}.subspan(70001, 2 * kMiB + 3)));
}

TEST_F(Nbd, AReadOnlyExportIsNoTarget) {
  const auto server = serve({"-r", "memory", "1M"});
  ASSERT_TRUE(server);
  std::string why;
  const auto target = NbdEndpoint::open(server->uri(), {.write = true}, why);
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, Errc::read_only);
}

TEST_F(Nbd, AMissingServerIsNotFoundAtOnce) {
  std::string why;
  const auto target =
      NbdEndpoint::open("nbd+unix:///?socket=" + (directory_ / "none"), {.write = true}, why);
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, Errc::not_found);
  EXPECT_FALSE(why.empty());
  EXPECT_EQ(why.find('\n'), std::string::npos);
}

TEST_F(Nbd, AFullServerEndsTheCopy) {
  const auto server =
      serve({"--filter=error", "memory", "32M", "error=ENOSPC", "error-pwrite-rate=50%"});
  ASSERT_TRUE(server);
  auto source = disk(32 * kMiB);
  const auto target = connect(*server, true);
  ASSERT_TRUE(target);
  const auto counts = copy(source, *target);
  ASSERT_FALSE(counts);
  EXPECT_EQ(counts.error().code, Errc::no_space);
}

TEST_F(Nbd, AFailedReadCarriesTheErrorOfTheServer) {
  const auto server =
      serve({"--filter=error", "memory", "32M", "error=EIO", "error-pread-rate=100%"});
  ASSERT_TRUE(server);
  const auto source = connect(*server, false);
  ASSERT_TRUE(source);
  std::vector<std::byte> buffer(kMiB);
  Transfer transfer;
  transfer.at = {kMiB};
  transfer.length = buffer.size();
  transfer.data = buffer.data();
  source->start(transfer);
  while (source->reap() == nullptr) wait_ready(std::array{source->readiness()}, 100);
  ASSERT_TRUE(transfer.failure);
  EXPECT_EQ(transfer.failure->sys_errno, EIO);
  EXPECT_EQ(transfer.failure->where.value, kMiB);
}

TEST_F(Nbd, AServerThatDiesEndsTheCopy) {
  auto server = serve({"--filter=delay", "memory", "64M", "delay-write=100ms"});
  ASSERT_TRUE(server);
  auto source = disk(64 * kMiB);
  const auto target = connect(*server, true);
  ASSERT_TRUE(target);
  class Kill final : public Progress {
   public:
    explicit Kill(NbdServer& server) : server_{server} {}
    bool update(std::uint64_t done, std::uint64_t) noexcept override {
      if (done > 4 * kMiB) server_.stop();
      return true;
    }

   private:
    NbdServer& server_;
  } progress{*server};
  const auto begin = std::chrono::steady_clock::now();
  CopyPipeline pipeline{
      source, *target, {.length = 64 * kMiB, .total = 64 * kMiB, .progress = &progress}};
  const auto counts = pipeline.run();
  ASSERT_FALSE(counts);
  EXPECT_EQ(counts.error().code, Errc::io);
  EXPECT_FALSE(target->finish());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds{10});
}

TEST_F(Nbd, Qcow2ComesThroughQemuNbd) {
  if (!test::have_program("qemu-nbd") || !test::have_program("qemu-img")) {
    GTEST_SKIP() << "qemu-utils is not installed";
  }
  const auto bytes = bytes_with_holes(16 * kMiB);
  const std::string raw = (directory_ / "disk.raw");
  {
    std::ofstream out{raw, std::ios::binary};
    for (const std::byte b : bytes) out.put(static_cast<char>(b));
  }
  const std::string qcow2 = (directory_ / "disk.qcow2");
  ASSERT_EQ(test::run_program({"qemu-img", "convert", "-O", "qcow2", raw, qcow2}).exit_code, 0);
  const auto server = NbdServer::qemu_nbd(directory_, {"-r", "-f", "qcow2", qcow2});
  ASSERT_TRUE(server);
  EXPECT_TRUE(contents(*server) == bytes);
}

TEST(NbdUri, OnlyNbdSchemesAreUris) {
  EXPECT_TRUE(is_nbd_uri("nbd://host/export"));
  EXPECT_TRUE(is_nbd_uri("nbd+unix:///?socket=/run/x"));
  EXPECT_TRUE(is_nbd_uri("nbds://host"));
  EXPECT_FALSE(is_nbd_uri("nbd"));
  EXPECT_FALSE(is_nbd_uri("./nbd://x"));
  EXPECT_FALSE(is_nbd_uri("disk.vhdx"));
}

}  // namespace
}  // namespace openvhd
