#include "raw_ring_options.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>

namespace raw_ring {
namespace {

struct Number {
  std::string_view name;
  std::uint64_t Options::* value;
};
struct Flag {
  std::string_view name;
  bool Options::* value;
};
constexpr Number kNumbers[] = {
    {"--block", &Options::block},  {"--unit", &Options::unit},
    {"--depth", &Options::depth},  {"--rings", &Options::rings},
    {"--time", &Options::seconds}, {"--flush-every", &Options::flush_every},
    {"--count", &Options::count},  {"--seed", &Options::seed},
};
constexpr Flag kFlags[] = {
    {"--durable", &Options::durable},
    {"--sequential", &Options::sequential},
    {"--registered", &Options::registered},
    {"--cached", &Options::cached},
};

bool take_mode(std::string_view text, Options& options) {
  if (text == "read") {
    options.mode = Mode::read;
  } else if (text == "write") {
    options.mode = Mode::write;
  } else if (text == "alloc") {
    options.mode = Mode::alloc;
  } else {
    return false;
  }
  return true;
}

bool take_number(const char* text, std::uint64_t& into) {
  char* end = nullptr;
  into = std::strtoull(text, &end, 10);
  return end != text && *end == '\0';
}

}  // namespace

std::optional<Options> parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto flag = std::find_if(std::begin(kFlags), std::end(kFlags),
                                   [&](const Flag& one) { return one.name == word; });
    const auto number = std::find_if(std::begin(kNumbers), std::end(kNumbers),
                                     [&](const Number& one) { return one.name == word; });
    if (flag != std::end(kFlags)) {
      options.*flag->value = true;
    } else if (number != std::end(kNumbers)) {
      if (++i == argc || !take_number(argv[i], options.*number->value)) return std::nullopt;
    } else if (word == "--mode") {
      if (++i == argc || !take_mode(argv[i], options)) return std::nullopt;
    } else if (word.starts_with("-") || options.file != nullptr) {
      return std::nullopt;
    } else {
      options.file = argv[i];
    }
  }
  if (options.unit == 0) options.unit = options.block;
  if (options.seconds == 0 && options.count == 0) options.seconds = 5;
  const bool usable = options.file != nullptr && options.block > 0 && options.block % 512 == 0 &&
                      options.block * options.depth <= (std::uint64_t{1} << 30) &&
                      options.unit % options.block == 0 && options.depth >= 1 &&
                      options.depth <= 1024 && options.rings >= 1 && options.rings <= 64;
  return usable ? std::optional{options} : std::nullopt;
}

}  // namespace raw_ring
