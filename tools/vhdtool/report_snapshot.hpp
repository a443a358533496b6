/// What the verbs over whole chains print: pure functions to text and JSON.
#pragma once

#include <openvhd/merge.hpp>
#include <openvhd/rebase.hpp>
#include <string>

#include "json.hpp"

namespace vhdtool {

std::string merge_text(const openvhd::MergeResult& result);
Json merge_json(const openvhd::MergeResult& result);

std::string rebase_text(const openvhd::RebaseResult& result);
Json rebase_json(const openvhd::RebaseResult& result);

}  // namespace vhdtool
