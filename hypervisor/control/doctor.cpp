#include "control/doctor.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <openvhd/queue.hpp>
#include <system_error>

#include "firmware/firmware_file.hpp"
#include "kvm/host.hpp"

namespace openvhd::vmm {
namespace {

using State = Finding::State;

const char* name_of(State state) {
  switch (state) {
    case State::good:
      return "good";
    case State::limited:
      return "limited";
    case State::missing:
      break;
  }
  return "missing";
}

Finding no_kvm(const Error& error) {
  Finding finding{"kvm", State::missing, describe(error, "/dev/kvm"), {}};
  if (error.code == Errc::not_found)
    finding.advice =
        "load kvm-intel or kvm-amd; in a virtual machine, enable nested "
        "virtualization on its host; tests/nested shows a way without either";
  else if (error.code == Errc::denied)
    finding.advice = "add the user to the group that owns /dev/kvm";
  else if (error.code == Errc::unsupported)
    finding.advice = "this kernel's KVM lacks what is named: use a Linux kernel from 5.10 on";
  return finding;
}

Finding speed_of(const KvmHost& host) {
  const auto ns = instruction_ns(host);
  if (!ns)
    return {"virtualization", State::missing, describe(ns.error(), "/dev/kvm"),
            "see the kernel's log: KVM is there but cannot run a guest"};
  if (*ns > kInterpretedNs)
    return {"virtualization", State::limited,
            fmt::format("ring 0 is interpreted in software: {:.0f} ns per instruction", *ns),
            "firmware and small guests run; for Linux use a host with VT-x or AMD-V, or "
            "tests/nested"};
  return {
      "virtualization", State::good, fmt::format("hardware: {:.2f} ns per instruction", *ns), {}};
}

void examine_kvm(std::vector<Finding>& findings) {
  const auto host = KvmHost::open();
  if (!host) {
    findings.push_back(no_kvm(host.error()));
    return;
  }
  findings.push_back({"kvm",
                      State::good,
                      fmt::format("/dev/kvm, up to {} processors per guest", host->max_vcpus()),
                      {}});
  findings.push_back(speed_of(*host));
  for (const auto& capability : capabilities()) {
    if (capability.required) continue;
    const bool has = host->value_of(capability.number) != 0;
    findings.push_back({fmt::format("kvm.{}", capability.name), has ? State::good : State::limited,
                        fmt::format("{}: {}", has ? "there" : "absent", capability.why),
                        has ? "" : "nothing: guests run without it"});
  }
}

void examine_firmware(std::vector<Finding>& findings) {
  for (const auto& file : firmware_files()) {
    if (file.kind == Firmware::ovmf_vars) continue;  // comes with its code
    const auto path = find_firmware(file.kind);
    if (!path.empty())
      findings.push_back({file.package, State::good, path, {}});
    else
      findings.push_back({file.package, State::limited, "not found",
                          fmt::format("apt-get install {}, or name a file with --firmware; direct "
                                      "boot with --kernel needs none",
                                      file.package)});
  }
}

// Locks and queues as the library meets them, on a small image.
void examine_images(std::vector<Finding>& findings) {
  std::error_code ignored;
  const auto folder = std::filesystem::temp_directory_path(ignored);
  const auto path = (folder / fmt::format("vhdvmm-doctor-{}.vhdx", ::getpid())).string();
  const auto report = [&](const char* what, const Error& error) {
    findings.push_back({what, State::missing, describe(error, path),
                        "set TMPDIR to a directory that can be written"});
  };
  if (const auto made = create(path, {.virtual_size = 1 << 20}); !made) {
    report("images", made.error());
    return;
  }
  auto disk = Disk::open(path, {.access = Access::read_write});
  if (!disk) {
    report("images", disk.error());
  } else {
    const auto second = Disk::open(path, {.access = Access::read_write});
    const bool locked = !second && second.error().code == Errc::busy;
    findings.push_back({"locks", locked ? State::good : State::missing,
                        locked ? "a second writer is refused" : "two writers could open one image",
                        locked ? "" : "use a file system with open-file-description locks"});
    const auto queue = Queue::open(*disk, {});
    const std::string driver = queue ? queue->driver() : describe(queue.error(), path);
    const bool ring = driver == "io_uring";
    findings.push_back({"io_uring", ring ? State::good : State::limited, driver,
                        ring ? ""
                             : "disks are slower: allow io_uring (sysctl "
                               "kernel.io_uring_disabled, or the container's seccomp filter)"});
  }
  std::filesystem::remove(path, ignored);
}

}  // namespace

std::vector<Finding> examine_host() {
  std::vector<Finding> findings;
  examine_kvm(findings);
  examine_firmware(findings);
  examine_images(findings);
  return findings;
}

std::string doctor_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const auto& finding : findings) {
    text += fmt::format("{:8} {:20} {}\n", name_of(finding.state), finding.what, finding.found);
    if (!finding.advice.empty()) text += fmt::format("{:29} -> {}\n", "", finding.advice);
  }
  return text;
}

std::string doctor_json(const std::vector<Finding>& findings) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& finding : findings)
    list.push_back({{"what", finding.what},
                    {"state", name_of(finding.state)},
                    {"found", finding.found},
                    {"advice", finding.advice.empty() ? nlohmann::ordered_json{}
                                                      : nlohmann::ordered_json(finding.advice)}});
  const nlohmann::ordered_json document{
      {"schema", 1}, {"can_run", doctor_code(findings) == ExitCode::ok}, {"findings", list}};
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

ExitCode doctor_code(const std::vector<Finding>& findings) noexcept {
  const bool bad = std::any_of(findings.begin(), findings.end(),
                               [](const auto& f) { return f.state == State::missing; });
  return bad ? ExitCode::missing : ExitCode::ok;
}

}  // namespace openvhd::vmm
