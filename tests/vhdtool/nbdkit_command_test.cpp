#include "nbdkit_command.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace vhdtool {
namespace {

using Words = std::vector<std::string>;

TEST(NbdkitCommand, ASocketIsForThisMachine) {
  ServeOptions options;
  options.files = {"a=b.vhdx"};
  options.socket = "/run/s";
  EXPECT_EQ(serve_problem(options), "");
  EXPECT_EQ(nbdkit_command("/usr/bin/nbdkit", "openvhd", "/tmp/pid", options),
            (Words{"/usr/bin/nbdkit", "--foreground", "--exit-with-parent", "--pidfile", "/tmp/pid",
                   "--unix", "/run/s", "openvhd", "file=a=b.vhdx"}));
  EXPECT_EQ(export_uri(options, 0), "nbd+unix:///?socket=/run/s");
}

TEST(NbdkitCommand, APortIsOnTheLoopbackAddressUnlessToldOtherwise) {
  ServeOptions options;
  options.files = {"a.vhdx"};
  options.port = 10809;
  const auto has = [&](const std::string& word) {
    const auto words = nbdkit_command("n", "p", "f", options);
    return std::ranges::find(words, word) != words.end();
  };
  EXPECT_TRUE(has("127.0.0.1"));
  EXPECT_EQ(export_uri(options, 0), "nbd://127.0.0.1:10809/");
  options.listen = "::";
  EXPECT_FALSE(has("127.0.0.1"));
  EXPECT_TRUE(has("::"));
  EXPECT_EQ(export_uri(options, 0), "nbd://[::]:10809/");
}

TEST(NbdkitCommand, EverythingIsHandedOn) {
  ServeOptions options;
  options.files = {"/srv/one.vhdx", "two.vhd"};
  options.socket = "/run/a b%";
  options.read_only = true;
  options.threads = 4;
  options.tls_psk = "/etc/keys";
  options.open.direct = true;
  options.open.format = openvhd::Format::vhdx;
  options.open.parents.parent_dirs = {"/base"};
  options.open.parents.chain = {{.path = "p.vhdx"},
                                {.path = "r.img", .format = openvhd::Format::raw}};
  options.open.parents.cross_device = true;
  options.open.parents.trusted_owners = {1000};
  EXPECT_EQ(serve_problem(options), "");
  const auto words = nbdkit_command("n", "p", "f", options);
  for (const char* word : {"--readonly", "--threads", "4", "--tls=require", "--tls-psk=/etc/keys",
                           "file=/srv/one.vhdx", "file=two.vhd", "readonly=true", "direct=true",
                           "format=vhdx", "parent-dir=/base", "parent=p.vhdx", "raw-parent=r.img",
                           "cross-device=true", "trust-owner=1000"}) {
    EXPECT_NE(std::ranges::find(words, word), words.end()) << word;
  }
  EXPECT_EQ(export_uri(options, 0), "nbds+unix:///one.vhdx?socket=/run/a%20b%25");
}

TEST(NbdkitCommand, WhatContradictsIsRefused) {
  ServeOptions options;
  options.files = {"a.vhdx"};
  EXPECT_NE(serve_problem(options), "");
  options.socket = "s";
  options.listen = "::";
  EXPECT_NE(serve_problem(options), "");
  options.listen.clear();
  options.port = 1;
  EXPECT_NE(serve_problem(options), "");
  options.socket.clear();
  for (const std::uint64_t port : {0U, 65536U}) {
    options.port = port;
    EXPECT_NE(serve_problem(options), "");
  }
  options.port = 65535;
  EXPECT_EQ(serve_problem(options), "");
  options.threads = 65;
  EXPECT_NE(serve_problem(options), "");
  options.threads.reset();
  options.tls_psk = options.tls_certificates = "x";
  EXPECT_NE(serve_problem(options), "");
  options.tls_psk.clear();
  options.files = {"x/a.vhdx", "y/a.vhdx"};
  EXPECT_NE(serve_problem(options).find("'a.vhdx'"), std::string::npos);
}

}  // namespace
}  // namespace vhdtool
