/// SHA-256 by the sha256sum of coreutils, to compare with hashes that other programs made.
#pragma once

#include <cstddef>
#include <cstdio>
#include <span>
#include <string>

#include "support/temp_dir.hpp"

namespace openvhd::test {

class Sha256 {
 public:
  Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  ~Sha256();

  void add(std::span<const std::byte> bytes);
  /// 64 lower-case hexadecimal digits. Once.
  std::string finish();

 private:
  TempDir dir_;
  std::FILE* pipe_;
};

}  // namespace openvhd::test
