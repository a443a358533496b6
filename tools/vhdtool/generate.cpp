// Writes manual pages and shell completions into the folder that is named. Runs when vhdtool is
// built, on the same declarations that vhdtool parses with.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "manual.hpp"

namespace {

bool write(const std::string& path, const std::string& text) {
  std::ofstream out{path, std::ios::binary | std::ios::trunc};
  out << text;
  out.close();
  if (out) return true;
  std::fprintf(stderr, "cannot write %s\n", path.c_str());
  return false;
}

bool generate(const std::string& folder) {
  const auto verbs = vhdtool::all_verbs();
  const auto all = vhdtool::declared(verbs);
  bool good = write(folder + "/vhdtool.1", vhdtool::man_page(all, OPENVHD_VERSION));
  for (const auto& verb : all) {
    good = write(folder + "/vhdtool-" + verb.text.name + ".1",
                 vhdtool::man_page(verb, OPENVHD_VERSION)) &&
           good;
  }
  good = write(folder + "/vhdtool.bash", vhdtool::bash_completion(all)) && good;
  good = write(folder + "/_vhdtool", vhdtool::zsh_completion(all)) && good;
  return write(folder + "/vhdtool.fish", vhdtool::fish_completion(all)) && good;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) return generate(argv[1]) ? 0 : 1;
  std::fprintf(stderr, "usage: vhdtool-generate FOLDER\n");
  return 1;
}
