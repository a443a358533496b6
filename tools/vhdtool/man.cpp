#include <fmt/format.h>

#include "manual.hpp"

namespace vhdtool {
namespace {

// A text line for roff: nothing in it is a request or an escape. Dashes are what people type.
std::string roff(const std::string& text) {
  std::string out;
  if (!text.empty() && (text[0] == '.' || text[0] == '\'')) out += "\\&";
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

std::string head(const std::string& page, const std::string& version) {
  return fmt::format(".TH {} 1 \"\" \"openvhd {}\" \"OpenVHD\"\n", roff(page), roff(version));
}

std::string definitions(const Declared& verb, bool positional) {
  std::string out;
  for (const auto& argument : verb.arguments.all()) {
    if (argument.positional != positional) continue;
    out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(option_title(argument)),
                       roff(argument.text.help));
  }
  return out;
}

std::string exit_status() {
  std::string out = ".SH EXIT STATUS\n";
  for (const auto& row : kExitCodes)
    out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", static_cast<int>(row.code), roff(row.text));
  return out;
}

}  // namespace

std::string man_page(const std::vector<Declared>& verbs, const std::string& version) {
  std::string out = head("VHDTOOL", version);
  out +=
      ".SH NAME\nvhdtool \\- make, read, check and convert VHD and VHDX disk images\n"
      ".SH SYNOPSIS\n\\fBvhdtool\\fR \\fIVERB\\fR ...\n.SH DESCRIPTION\n"
      "Works on VHD and VHDX images, fixed, dynamic and differencing, and on raw disks. The format "
      "of an existing image is found from its content, that of a new one from its name. Raw is "
      "never guessed: it has to be named.\n.PP\n"
      "A failure is one line on standard error: file, offset, structure and the rule that was "
      "broken. Reports go to standard output; with \\fB\\-\\-json\\fR they are JSON of a "
      "documented shape.\n.PP\n"
      "SIZE, OFFSET and LENGTH are bytes, decimal or 0x hexadecimal, or a number with K, M, G, T "
      "or KiB, MiB, GiB, TiB, powers of 1024; 1.5G is allowed where it is a whole number of "
      "bytes.\n.PP\n"
      "SIGINT and SIGTERM stop long work at the next safe point; a second one stops at once.\n"
      ".SH VERBS\n";
  for (const auto& verb : verbs) {
    out += fmt::format(".TP\n\\fB{}\\fR\n{} See \\fBvhdtool\\-{}\\fR(1).\n", roff(verb.text.name),
                       roff(verb.text.summary), roff(verb.text.name));
  }
  out += exit_status() + ".SH SEE ALSO\n";
  bool first = true;
  for (const auto& verb : verbs) {
    out += fmt::format("{}\\fBvhdtool\\-{}\\fR(1)", first ? "" : ",\n", roff(verb.text.name));
    first = false;
  }
  return out + '\n';
}

std::string man_page(const Declared& verb, const std::string& version) {
  std::string out = head(
      "VHDTOOL-" +
          [&] {
            std::string upper = verb.text.name;
            for (char& c : upper) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
            return upper;
          }(),
      version);
  out += fmt::format(".SH NAME\nvhdtool\\-{} \\- {}\n", roff(verb.text.name),
                     roff(first_sentence(verb.text.summary)));
  out += fmt::format(".SH SYNOPSIS\n\\fBvhdtool\\fR {}\n",
                     roff(usage_line(verb.text.name, verb.arguments)));
  out += ".SH DESCRIPTION\n";
  bool first = true;
  for (const auto& text : verb.text.description) {
    out += (first ? "" : ".PP\n") + roff(text) + '\n';
    first = false;
  }
  out += ".SH ARGUMENTS\n" + definitions(verb, true);
  out += ".SH OPTIONS\n" + definitions(verb, false) +
         ".TP\n\\fB\\-h, \\-\\-help\\fR\nPrints a short form of this page.\n";
  out += exit_status();
  if (!verb.text.examples.empty()) out += ".SH EXAMPLES\n";
  for (const auto& example : verb.text.examples) {
    out += fmt::format(".TP\n{}\n.nf\n{}\n.fi\n", roff(example.what), roff(example.command));
  }
  return out + ".SH SEE ALSO\n\\fBvhdtool\\fR(1)\n";
}

}  // namespace vhdtool
