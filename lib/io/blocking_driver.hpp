/// The driver that waits: the command-line tool, open, create, log replay.
#pragma once

#include <openvhd/error.hpp>
#include <span>

#include "io/file.hpp"
#include "io/io_command.hpp"

namespace openvhd {

/// Runs `operation` to its end, one command after the other, in the calling thread.
/// `IoCommand::layer` indexes `files`. Returns the operation's own outcome. The operation must
/// not depend on another one: with nothing in flight, an empty next() and no outcome would never
/// change, which is a mistake of ours and ends the process.
Status run(Operation& operation, std::span<File* const> files) noexcept;

/// The same for an operation on one file.
Status run(Operation& operation, File& file) noexcept;

}  // namespace openvhd
