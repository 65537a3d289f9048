// Structural changes: volumes, snapshots and their relations. Each is one record, so one commit
// holds all of it or nothing.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Applies the items to memory; the record is not appended. Also used by recovery.
// Errors: corrupt (an item names an object that does not exist; only damaged journals do).
Result<void> apply_structure(Core& core, const StructureRecord& change);

// The same where objects are lost (Core::objects_lost): what does not concern them is applied, what
// was made from them is lost as well.
void apply_structure_to_rest(Core& core, const StructureRecord& change);

// Applies and records, if the log has room; else does nothing and returns false.
[[nodiscard]] bool apply_structure_if_room(Core& core, const StructureRecord& change);

// Applies, records and makes durable.
io::Task<Result<void>> commit_structure(Core& core, StructureRecord change,
                                        bool even_when_closing = false);

// The operations behind Pool's calls of the same names (pool.h has their contracts).
io::Task<Result<Uuid>> create_volume(Core& core, VolumeSpec spec);
io::Task<Result<void>> delete_volume(Core& core, Uuid volume);
io::Task<Result<void>> rename_volume(Core& core, Uuid volume, std::string name);
io::Task<Result<void>> resize_volume(Core& core, Uuid volume, uint64_t size_bytes,
                                     bool allow_shrink);
io::Task<Result<void>> set_protection(Core& core, Uuid object, bool on);
io::Task<Result<void>> set_tags(Core& core, Uuid volume, std::vector<std::byte> tags);
io::Task<Result<std::vector<Uuid>>> take_snapshots(Core& core, std::vector<SnapshotSpec> specs);
io::Task<Result<void>> delete_snapshot(Core& core, Uuid snapshot);
io::Task<Result<Uuid>> clone_snapshot(Core& core, Uuid snapshot, VolumeSpec spec);
io::Task<Result<void>> roll_back(Core& core, Uuid volume, Uuid snapshot);

// Makes everything above the volume's size a hole, for a shrink that was committed.
io::Task<Result<void>> trim_beyond_end(Core& core, Object& object);

// Not deleted, of that kind; errors: not_found naming the uuid.
Result<Object*> find_live_volume(Core& core, const Uuid& volume);
Result<Object*> find_live_snapshot(Core& core, const Uuid& snapshot);
Result<Object*> find_live_tree(Core& core, const Uuid& uuid);

// Is the snapshot gone for users (itself deleted, or its volume)?
// For messages: volume, or volume@snapshot.
[[nodiscard]] std::string full_name(const Core& core, const Object& object);

[[nodiscard]] bool is_gone(const Core& core, const Object& object);

}  // namespace stoa::pool
