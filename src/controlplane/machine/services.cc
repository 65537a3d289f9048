#include "controlplane/machine/services.h"

namespace stoa::machine {

std::string run_directory(const Settings& settings, const Uuid& vm) {
    return settings.runtime + "/vm/" + vm.to_string();
}
std::string state_directory(const Settings& settings, const Uuid& vm) {
    return settings.root + "/stoad/vms/" + vm.to_string();
}
std::string status_file(const Settings& settings, const Uuid& vm) {
    return state_directory(settings, vm) + "/qemu.status";
}
std::string log_file(const Settings& settings, const Uuid& vm) {
    return state_directory(settings, vm) + "/qemu.log";
}
std::string serial_file(const Settings& settings, const Uuid& vm) {
    return run_directory(settings, vm) + "/serial.log";
}

}  // namespace stoa::machine
