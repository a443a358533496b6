/// What the verbs over whole chains print: pure functions to text and JSON.
#pragma once

#include <openvhd/checkpoint.hpp>
#include <openvhd/merge.hpp>
#include <openvhd/rebase.hpp>
#include <string>
#include <vector>

#include "json.hpp"

namespace vhdtool {

std::string merge_text(const openvhd::MergeResult& result);
Json merge_json(const openvhd::MergeResult& result);

/// What is to be said of an image that an interrupted merge has left between two disks.
std::vector<std::string> merge_notes(const std::string& file);

std::string rebase_text(const openvhd::RebaseResult& result);
Json rebase_json(const openvhd::RebaseResult& result);

/// One line each, and which image is the disk.
std::string checkpoints_text(const openvhd::CheckpointTree& tree);
/// Each below the one that it goes on from.
std::string checkpoint_tree_text(const openvhd::CheckpointTree& tree);
Json checkpoints_json(const openvhd::CheckpointTree& tree);

}  // namespace vhdtool
