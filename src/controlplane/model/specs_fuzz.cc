// Any bytes as the body of a request or the value of a record: read, checked and given back without
// harm. What was read once reads the same again.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "controlplane/model/access.h"
#include "controlplane/model/access_requests.h"
#include "controlplane/model/host.h"
#include "controlplane/model/image_requests.h"
#include "controlplane/model/network.h"
#include "controlplane/model/network_requests.h"
#include "controlplane/model/record.h"
#include "controlplane/model/storage.h"
#include "controlplane/model/storage_requests.h"
#include "controlplane/model/task.h"
#include "controlplane/model/vm.h"
#include "controlplane/model/vm_requests.h"

namespace stoa::model {
namespace {

template <class T>
void read_one(const Json& json) {
    T value;
    if (!from_json(json, value).ok()) return;
    const Json first = to_json(value);
    T again;
    CHECK(from_json(first, again).ok());
    CHECK(to_json(again) == first);
    if constexpr (requires { check(value); }) static_cast<void>(check(value));
    if constexpr (std::same_as<T, VmSpec>) static_cast<void>(pending_changes(VmSpec{}, value));
}

template <class... T>
void read_each(const Json& json) {
    (read_one<T>(json), ...);
}

template <class... Kind>
void read_kinds(const Json& json) {
    (read_each<Stored<typename Kind::Spec>, typename Kind::Spec, typename Kind::Status>(json), ...);
}

void read_all(std::string_view text) {
    static_cast<void>(check_name(text));
    static_cast<void>(split_name(text));
    const Result<Json> json = parse_json(text);
    if (!json.ok()) return;
    read_kinds<Host, Pool, Volume, Snapshot, Image, Vm, Network, User, Role, Token, Task>(*json);
    read_each<VmCreate, VmSet, VmStop, VmDelete, VmSnapshot, VmRollback, VmClone, VmExec,
              VmExecResult>(*json);
    read_each<PoolCreate, PoolSet, PoolAddDevice, PoolScrub, VolumeCreate, VolumeSet,
              SnapshotCreate, SnapshotSet, SnapshotClone, SnapshotRollback>(*json);
    read_each<NetworkCreate, NetworkSet, UserCreate, UserSet, UserPassword, Login, RoleCreate,
              RoleSet, TokenCreate, ImageImport, ImageBuild, ImageFromSnapshot, ImageSet>(*json);
    read_one<Labels>(*json);
    Labels labels;
    if (from_json(*json, labels).ok()) static_cast<void>(check_labels(labels));
}

}  // namespace
}  // namespace stoa::model

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    stoa::model::read_all({reinterpret_cast<const char*>(data), size});
    return 0;
}
