#include "verb.hpp"

namespace vhdtool {

std::vector<std::unique_ptr<Verb>> all_verbs() {
  std::vector<std::unique_ptr<Verb>> verbs;
  verbs.push_back(create_verb());
  verbs.push_back(info_verb());
  verbs.push_back(check_verb());
  verbs.push_back(convert_verb());
  verbs.push_back(map_verb());
  verbs.push_back(compare_verb());
  verbs.push_back(dump_verb());
  verbs.push_back(replay_verb());
  verbs.push_back(resize_verb());
  verbs.push_back(compact_verb());
  verbs.push_back(io_verb());
  verbs.push_back(bench_verb());
  verbs.push_back(mount_verb());
  verbs.push_back(umount_verb());
  verbs.push_back(serve_verb());
  verbs.push_back(merge_verb());
  verbs.push_back(rebase_verb());
  verbs.push_back(checkpoint_verb());
  return verbs;
}

}  // namespace vhdtool
