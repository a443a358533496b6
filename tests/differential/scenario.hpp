/// One random life of one disk: a script of operations on an image and on a flat model beside it.
#pragma once

#include <memory>
#include <openvhd/types.hpp>
#include <random>
#include <string>
#include <vector>

#include "differential/flat_model.hpp"
#include "image/disk_state.hpp"
#include "support/fixed_host.hpp"
#include "support/memory_file.hpp"

namespace openvhd::test {

/// What kind of disk a scenario is about.
struct Shape {
  Format format{};
  DiskType type{};
  std::uint64_t virtual_size = 0;
  std::uint64_t block_size = 0;
  std::uint32_t sector = 512;
  std::uint32_t parents = 0;  ///< Levels below the leaf; more than 0 for differencing.
  std::string name() const;
};

class Scenario {
 public:
  Scenario(const Shape& shape, std::uint64_t seed);

  /// Runs `operations` random operations, then reads everything back. Empty when all matched;
  /// otherwise one line that says what did not.
  std::string run(std::uint64_t operations);

 private:
  std::string open();
  std::string step();
  std::string read_some();
  std::string write_some();
  std::string clear_some();
  std::string flush();
  std::string reopen();
  std::string crash();
  std::string side_by_side();
  std::string read_back();
  std::string compare(std::uint64_t at, std::uint64_t length);
  std::uint64_t some_place(std::uint64_t length);
  std::uint64_t some_length();
  std::string failed(const std::string& what, const Error& error) const;

  Shape shape_;
  std::mt19937_64 random_;
  FixedHost host_;
  std::vector<std::shared_ptr<MemoryStore>> stores_;  // the leaf first
  std::unique_ptr<detail::DiskState> disk_;
  FlatModel model_;
  std::vector<std::uint64_t> centres_;  // where the operations gather
  std::vector<std::byte> buffer_;
  std::uint64_t done_ = 0;
};

}  // namespace openvhd::test
