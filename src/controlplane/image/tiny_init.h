// What runs in the tiny image: its scripts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace stoa::image {

// /init, which loads these modules in this order (files of /lib/modules, without ".ko").
[[nodiscard]] std::string init_script(const std::vector<std::string>& modules);
// /etc/udhcpc.script: what udhcpc calls when it has got or lost an address.
[[nodiscard]] std::string_view dhcp_script();
// /sbin/shutdown, as the guest agent calls it: -P, -H or -r, and more that is of no interest.
[[nodiscard]] std::string_view shutdown_script();
// /etc/acpi/PWRF/00000080: the power button.
[[nodiscard]] std::string_view power_button_script();
// /etc/os-release.
[[nodiscard]] std::string os_release(std::string_view kernel_version);

}  // namespace stoa::image
