#include "snapshot/family.hpp"

#include <algorithm>
#include <openvhd/create.hpp>
#include <utility>

#include "base/try.hpp"
#include "image/open.hpp"

namespace openvhd::snapshot {
namespace {

Result<FamilyMember> look_into(ImageStore& store, Host& host, Format format,
                               const std::string& path) {
  OVHD_TRY(auto file, store.open(path, Lock::none));
  FamilyMember out{.path = path, .format = format, .identity = file->identity()};
  out.modified_unix = file->modified_unix();
  OVHD_TRY(const OpenedImage image, open_layer(format, std::move(file), {}, host));
  out.type = image.layer->type();
  out.id = image.layer->link_identity();
  if (const ParentLink* link = image.layer->parent_link()) out.parent = *link;
  return out;
}

/// Whether a file that did not open is no image at all. One that is damaged, or of a kind that is
/// not known here, may be anybody's child.
bool is_stranger(ImageStore& store, const std::string& path, const Error& error) {
  if (error.code != Errc::corrupt && error.code != Errc::unsupported) return false;
  const auto file = store.open(path, Lock::none);
  if (!file) return false;
  const auto format = probe(**file);
  return format && !*format;
}

}  // namespace

Result<Family> find_family(ImageStore& store, Host& host, Format format,
                           const std::vector<std::string>& directories) {
  Family out;
  std::vector<std::string> seen;
  for (const std::string& directory : directories) {
    if (std::ranges::find(seen, directory) != seen.end()) continue;
    seen.push_back(directory);
    OVHD_TRY(const std::vector<std::string> names, store.list(directory));
    for (const std::string& name : names) {
      if (format_from_name(name) != format) continue;
      std::string path = directory == "."           ? name
                         : directory.ends_with('/') ? directory + name
                                                    : directory + "/" + name;
      auto member = look_into(store, host, format, path);
      if (!member) {
        if (member.error().code == Errc::not_found) continue;
        const bool strange = is_stranger(store, path, member.error());
        (strange ? out.strangers : out.unread).push_back({path, member.error()});
        continue;
      }
      const auto same = [&](const FamilyMember& other) {
        return other.identity == member->identity;
      };
      if (std::ranges::none_of(out.members, same)) out.members.push_back(*std::move(member));
    }
  }
  return out;
}

}  // namespace openvhd::snapshot
