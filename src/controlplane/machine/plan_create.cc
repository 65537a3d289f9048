// Plans that make virtual machines, and change what they have.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "controlplane/machine/plan_parts.h"
#include "controlplane/machine/planner.h"
#include "controlplane/machine/steps.h"
#include "controlplane/network/addresses.h"
#include "controlplane/network/networks.h"
#include "controlplane/network/plans.h"
#include "controlplane/qemu/arguments.h"
#include "controlplane/storage/plan_parts.h"
#include "controlplane/task/record_step.h"

namespace stoa::machine {

namespace {

using storage::VolumeRecord;
using ImageRecord = model::Record<model::Image>;

constexpr uint64_t kMemoryBytes = uint64_t{1} << 30;
constexpr std::string_view kUserNetwork = "user";

// Free within the VM: disk0, disk1, …
template <class Items>
std::string free_name(const Items& items, std::string_view stem) {
    for (size_t i = 0;; ++i) {
        std::string name = fmt::format("{}{}", stem, i);
        const auto has = [&name](const auto& item) { return item.name == name; };
        if (!std::ranges::any_of(items, has)) return name;
    }
}

// Which VM has the volume among its disks, besides `except`.
const VmRecord* user_of(const PlanContext& context, const Uuid& volume, const Uuid& except) {
    for (const auto& [id, vm] : context.records.all<model::Vm>()) {
        if (id == except) continue;
        for (const model::VmDisk& disk : vm.spec.disks) {
            if (disk.volume == volume && !disk.read_only) return &vm;
        }
    }
    return nullptr;
}

// Puts the making of a volume into the plan and the disk into the VM.
Result<void> add_made_disk(const PlanContext& context, VmRecord& vm, model::VmDisk disk,
                           const Uuid& pool, uint64_t size_bytes, std::optional<Uuid> source,
                           task::Plan& plan) {
    VolumeRecord volume;
    volume.id = context.ids.next();
    volume.name =
        storage::free_volume_name(context.records, pool, fmt::format("{}-{}", vm.name, disk.name));
    volume.created_ns = context.ids.now_ns();
    volume.labels[std::string(storage::kVmLabel)] = vm.id.to_string();
    volume.spec.pool = pool;
    volume.spec.size_bytes = size_bytes;
    volume.spec.source = source;
    TRY(storage::add_volume_creation(context.records, volume, plan));
    disk.volume = volume.id;
    disk.pool = pool;
    vm.spec.disks.push_back(std::move(disk));
    return {};
}

Result<void> add_cd(const PlanContext& context, VmRecord& vm, const model::NewDisk& wanted,
                    const std::string& field) {
    const auto image = context.records.find<model::Image>(wanted.iso);
    if (!image.ok()) return image.error().with_context(field + ".iso");
    if (!(*image)->spec.snapshot || !(*image)->spec.pool) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("{}.iso: image {} holds no disk", field, (*image)->name));
    }
    model::VmDisk disk;
    disk.name = wanted.name.empty() ? free_name(vm.spec.disks, "cd") : wanted.name;
    disk.volume = *(*image)->spec.snapshot;
    disk.pool = (*image)->spec.pool;
    disk.bus = wanted.bus;
    disk.media = model::DiskMedia::cdrom;
    disk.read_only = true;
    disk.shared_fate = false;
    vm.spec.disks.push_back(std::move(disk));
    return {};
}

// Notes in the volume's record whose disk it is; two plans that take the same one cannot both be
// committed.
void note_user(const VolumeRecord& volume, const std::string& vm, task::Plan& plan) {
    VolumeRecord noted = volume;
    if (vm.empty()) noted.labels.erase(std::string(storage::kVmLabel));
    else noted.labels[std::string(storage::kVmLabel)] = vm;
    if (noted.labels != volume.labels) records::replace(plan.intent, volume, noted);
    else records::expect(plan.intent, volume);
}

Result<void> add_present_disk(const PlanContext& context, VmRecord& vm,
                              const model::NewDisk& wanted, const std::string& field,
                              task::Plan& plan) {
    const auto volume = context.records.find<model::Volume>(wanted.volume);
    if (!volume.ok()) return volume.error().with_context(field + ".volume");
    if (const VmRecord* user = user_of(context, (*volume)->id, vm.id); user != nullptr) {
        return Error(ErrorCode::in_use, fmt::format("{}.volume: {} is a disk of vm {}", field,
                                                    wanted.volume, user->name));
    }
    for (const model::VmDisk& disk : vm.spec.disks) {
        if (disk.volume == (*volume)->id) {
            return Error(ErrorCode::in_use, fmt::format("{}.volume: {} is disk {} already", field,
                                                        wanted.volume, disk.name));
        }
    }
    model::VmDisk disk;
    disk.name = wanted.name.empty() ? free_name(vm.spec.disks, "disk") : wanted.name;
    disk.volume = (*volume)->id;
    disk.pool = (*volume)->spec.pool;
    disk.bus = wanted.bus;
    disk.shared_fate = false;  // it was there before the VM
    note_user(**volume, vm.id.to_string(), plan);
    vm.spec.disks.push_back(std::move(disk));
    return {};
}

Result<void> add_disk(const PlanContext& context, VmRecord& vm, const model::NewDisk& wanted,
                      std::string_view pool, const std::string& field, task::Plan& plan) {
    const int kinds = (wanted.iso.empty() ? 0 : 1) + (wanted.volume.empty() ? 0 : 1) +
                      (wanted.size_bytes == 0 ? 0 : 1);
    if (kinds != 1) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("{}: say one of size_bytes (a new disk), volume (one that is "
                                 "there) and iso (a CD)",
                                 field));
    }
    if (!wanted.iso.empty()) return add_cd(context, vm, wanted, field);
    if (!wanted.volume.empty()) return add_present_disk(context, vm, wanted, field, plan);
    TRY_ASSIGN(const auto in,
               find_pool(context, wanted.pool.empty() ? pool : wanted.pool, field + ".pool"));
    model::VmDisk disk;
    disk.name = wanted.name.empty() ? free_name(vm.spec.disks, "disk") : wanted.name;
    disk.bus = wanted.bus;
    return add_made_disk(context, vm, std::move(disk), in.id, wanted.size_bytes, std::nullopt,
                         plan);
}

Result<void> add_nic(const PlanContext& context, VmRecord& vm, const model::NewNic& wanted,
                     const std::string& field, task::Plan& plan) {
    model::VmNic nic;
    nic.name = wanted.name.empty() ? free_name(vm.spec.nics, "nic") : wanted.name;
    nic.model = wanted.model;
    nic.address = wanted.address;
    nic.mac = wanted.mac.empty() ? network::choose_mac(vm.id, nic.name) : wanted.mac;
    if (!wanted.network.empty() && wanted.network != kUserNetwork) {
        const auto found = context.records.find<model::Network>(wanted.network);
        if (!found.ok()) return found.error().with_context(field + ".network");
        nic.network = (*found)->id;
        plan.steps.push_back(network::lease_step(vm.id, nic.name));
    }
    vm.spec.nics.push_back(std::move(nic));
    return {};
}

// What the image brings: a kernel, a disk that is a clone of its own, how much memory it needs.
Result<void> add_image(const PlanContext& context, const model::VmCreate& request, VmRecord& vm,
                       task::Plan& plan) {
    const auto found = context.records.find<model::Image>(request.image);
    if (!found.ok()) return found.error().with_context("image");
    const ImageRecord image = **found;
    if (image.status.state != model::StorageState::ready) {
        return Error(ErrorCode::busy, fmt::format("image: {} is not ready", image.name));
    }
    vm.spec.image = image.id;
    if (image.spec.has_kernel) vm.spec.direct_boot = model::DirectBoot{image.id, {}};
    if (vm.spec.memory_bytes == 0) vm.spec.memory_bytes = image.spec.memory_bytes_min;
    if (vm.spec.memory_bytes < image.spec.memory_bytes_min) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("memory_bytes: image {} needs at least {}", image.name,
                                 bytes_text(image.spec.memory_bytes_min)));
    }
    if (!image.spec.snapshot) return {};
    const uint64_t size = request.disk_bytes == 0 ? image.spec.size_bytes : request.disk_bytes;
    if (size < image.spec.size_bytes) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("disk_bytes: image {} has a disk of {}", image.name,
                                 bytes_text(image.spec.size_bytes)));
    }
    model::VmDisk disk;
    disk.name = "disk0";
    return add_made_disk(context, vm, std::move(disk), *image.spec.pool, size, image.spec.snapshot,
                         plan);
}

void copy_settings(const model::VmCreate& request, VmRecord& vm) {
    vm.name = request.name;
    vm.labels = request.labels;
    vm.spec.cpus = request.cpus;
    vm.spec.memory_bytes = request.memory_bytes;
    vm.spec.firmware = request.firmware;
    vm.spec.boot_order = request.boot_order;
    vm.spec.autostart = request.autostart;
    vm.spec.start_order = request.start_order;
    vm.spec.start_delay_seconds = request.start_delay_seconds;
    vm.spec.restart = request.restart;
    vm.spec.is_protected = request.is_protected;
}

// Of a record whose disks and NICs are there.
Result<void> check_whole(const PlanContext& context, const VmRecord& vm) {
    TRY(model::check(vm.spec));
    return network::check_nics(context.records, vm.id, vm.spec, context.may_manage_networks);
}

Result<void> finish(const PlanContext& context, bool start, VmRecord& vm, task::Plan& plan) {
    vm.spec.machine_type = qemu::default_machine_type(vm.spec);
    vm.status.state = model::VmState::creating;
    vm.status.host = context.host;
    TRY(check_whole(context, vm));
    plan.steps.push_back(step(FinishStep{vm.id}, fmt::format("{} is made", vm.name)));
    if (start) TRY(add_launch(context, vm, plan, false));
    records::create(plan.intent, vm);
    return {};
}

Result<void> check_free(const PlanContext& context, const std::string& name) {
    TRY(model::check_name(name));
    if (!context.records.find<model::Vm>(name).ok()) return {};
    return Error(ErrorCode::already_exists, fmt::format("name: there is a vm {} already", name));
}

}  // namespace

Result<task::Plan> plan_create(const PlanContext& context, const model::VmCreate& request) {
    TRY(check_free(context, request.name));
    TRY(model::check_labels(request.labels));
    VmRecord vm;
    vm.id = context.ids.next();
    vm.created_ns = context.ids.now_ns();
    copy_settings(request, vm);
    task::Plan plan = plan_for(vm, "create");
    plan.steps.push_back(task::RecordStep<model::Vm>::step(vm.id, fmt::format("note {}", vm.name)));
    if (!request.image.empty()) TRY(add_image(context, request, vm, plan));
    if (vm.spec.memory_bytes == 0) vm.spec.memory_bytes = kMemoryBytes;
    if (vm.spec.disks.empty() && request.disk_bytes != 0) {
        model::NewDisk disk;
        disk.size_bytes = request.disk_bytes;
        TRY(add_disk(context, vm, disk, request.pool, "disk", plan));
    }
    for (size_t i = 0; i < request.disks.size(); ++i) {
        TRY(add_disk(context, vm, request.disks[i], request.pool, fmt::format("disks[{}]", i),
                     plan));
    }
    for (size_t i = 0; i < request.nics.size(); ++i) {
        TRY(add_nic(context, vm, request.nics[i], fmt::format("nics[{}]", i), plan));
    }
    TRY(finish(context, request.start, vm, plan));
    return plan;
}

Result<task::Plan> plan_clone(const PlanContext& context, std::string_view name,
                              const model::VmClone& request) {
    TRY_ASSIGN(const VmRecord from, find_vm(context, name));
    TRY(check_free(context, request.name));
    VmRecord vm = from;
    vm.id = context.ids.next();
    vm.name = request.name;
    vm.created_ns = context.ids.now_ns();
    vm.status = {};
    vm.spec.power = model::Power::off;
    vm.spec.is_protected = false;
    vm.spec.disks.clear();
    vm.spec.nics.clear();
    task::Plan plan = plan_for(vm, "clone");
    plan.locks.push_back(fmt::format("vm/{}", from.id.to_string()));
    plan.steps.push_back(task::RecordStep<model::Vm>::step(vm.id, fmt::format("note {}", vm.name)));
    TRY_ASSIGN(const auto parts, clone_parts(context, from, request.snapshot, plan));
    for (const model::VmDisk& disk : from.spec.disks) {
        const auto part = parts.find(disk.volume);
        if (part == parts.end()) {
            // CDs are shared; a disk that the snapshot does not hold is left out.
            if (disk.media == model::DiskMedia::cdrom) vm.spec.disks.push_back(disk);
            continue;
        }
        const auto* volume = context.records.get<model::Volume>(disk.volume);
        if (volume == nullptr) continue;
        model::VmDisk copy = disk;
        copy.shared_fate = true;
        TRY(add_made_disk(context, vm, copy, volume->spec.pool, volume->spec.size_bytes,
                          part->second, plan));
    }
    for (const model::VmNic& nic : from.spec.nics) {
        // An address and a MAC are nobody else's.
        model::NewNic wanted;
        wanted.name = nic.name;
        wanted.model = nic.model;
        wanted.network = nic.network ? nic.network->to_string() : std::string(kUserNetwork);
        TRY(add_nic(context, vm, wanted, "nics", plan));
    }
    TRY(finish(context, request.start, vm, plan));
    return plan;
}

namespace {

void set_plain(const model::VmSet& request, VmRecord& vm) {
    const auto set = [](const auto& from, auto& into) {
        if (from) into = *from;
    };
    set(request.name, vm.name);
    set(request.labels, vm.labels);
    set(request.cpus, vm.spec.cpus);
    set(request.memory_bytes, vm.spec.memory_bytes);
    set(request.autostart, vm.spec.autostart);
    set(request.start_order, vm.spec.start_order);
    set(request.start_delay_seconds, vm.spec.start_delay_seconds);
    set(request.restart, vm.spec.restart);
    set(request.firmware, vm.spec.firmware);
    set(request.boot_order, vm.spec.boot_order);
    set(request.is_protected, vm.spec.is_protected);
}

Result<void> remove_parts(const PlanContext& context, const model::VmSet& request, VmRecord& vm,
                          task::Plan& plan) {
    for (const std::string& name : request.remove_disks) {
        const auto disk = std::ranges::find(vm.spec.disks, name, &model::VmDisk::name);
        if (disk == vm.spec.disks.end()) {
            return Error(ErrorCode::not_found,
                         fmt::format("remove_disks: vm {} has no disk \"{}\"", vm.name, name));
        }
        const auto* volume = context.records.get<model::Volume>(disk->volume);
        if (volume != nullptr && !has_process(vm.status)) note_user(*volume, {}, plan);
        vm.spec.disks.erase(disk);
        std::erase(vm.spec.boot_order, name);
    }
    for (const std::string& name : request.remove_nics) {
        if (std::erase_if(vm.spec.nics, [&](const auto& nic) { return nic.name == name; }) == 0) {
            return Error(ErrorCode::not_found,
                         fmt::format("remove_nics: vm {} has no NIC \"{}\"", vm.name, name));
        }
        std::erase(vm.spec.boot_order, name);
    }
    return {};
}

Result<void> grow_disks(const PlanContext& context, const model::VmSet& request, const VmRecord& vm,
                        task::Plan& plan) {
    for (const auto& [name, size_bytes] : request.grow_disks) {
        const auto disk = std::ranges::find(vm.spec.disks, name, &model::VmDisk::name);
        const auto* volume = disk == vm.spec.disks.end()
                                 ? nullptr
                                 : context.records.get<model::Volume>(disk->volume);
        if (volume == nullptr || disk->media == model::DiskMedia::cdrom) {
            return Error(ErrorCode::not_found,
                         fmt::format("grow_disks: vm {} has no disk \"{}\"", vm.name, name));
        }
        if (size_bytes < volume->spec.size_bytes) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("grow_disks.{}: it has {} and a disk of a VM only grows", name,
                                     bytes_text(volume->spec.size_bytes)));
        }
        TRY(storage::add_resize(context.records, *volume, size_bytes, plan));
        plan.steps.push_back(step(GrowDiskStep{vm.id, name, size_bytes},
                                  fmt::format("tell {} that {} is larger", vm.name, name)));
    }
    return {};
}

}  // namespace

Result<task::Plan> plan_set(const PlanContext& context, std::string_view name,
                            const model::VmSet& request) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    if (vm.status.state == model::VmState::deleted) {
        return Error(ErrorCode::in_use,
                     fmt::format("vm {} is deleted: undelete it first", vm.name));
    }
    task::Plan plan = plan_for(vm, "set");
    VmRecord wanted = vm;
    set_plain(request, wanted);
    TRY(model::check_name(wanted.name));
    TRY(model::check_labels(wanted.labels));
    TRY(remove_parts(context, request, wanted, plan));
    for (size_t i = 0; i < request.add_disks.size(); ++i) {
        TRY(add_disk(context, wanted, request.add_disks[i], {}, fmt::format("add_disks[{}]", i),
                     plan));
    }
    for (size_t i = 0; i < request.add_nics.size(); ++i) {
        TRY(add_nic(context, wanted, request.add_nics[i], fmt::format("add_nics[{}]", i), plan));
    }
    TRY(grow_disks(context, request, wanted, plan));
    TRY(check_whole(context, wanted));
    if (!plan.steps.empty()) {
        plan.steps.insert(plan.steps.begin(),
                          step(SetStep{vm.id, vm.spec}, fmt::format("change {}", vm.name)));
    }
    records::replace(plan.intent, vm, wanted);
    return plan;
}

}  // namespace stoa::machine
