/// Plain text for terminals and files.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace vhdtool {

/// Names and texts out of images, safe to print: control characters, also those beyond ASCII, and
/// bytes that are not UTF-8 become \xNN. Nothing in an image can drive a terminal.
std::string printable(std::string_view text);

/// As printable(), for the text of XML elements.
std::string xml_text(std::string_view text);

/// How many columns a UTF-8 text takes, where each code point is one wide.
std::size_t columns(std::string_view text);

/// Breaks `text` at spaces into lines of at most `width` columns, words that are longer excepted.
std::vector<std::string> wrapped(std::string_view text, std::size_t width);

/// Rows in aligned columns, two spaces between them. Rows may be shorter than others.
class Table {
 public:
  enum class Align : bool { left, right };
  explicit Table(std::vector<Align> columns) : align_{std::move(columns)} {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// Every line ends with a newline and no line with spaces.
  std::string text(std::string_view indent) const;

 private:
  std::vector<Align> align_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace vhdtool
