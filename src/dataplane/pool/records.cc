#include "dataplane/pool/records.h"

#include <algorithm>

#include <fmt/format.h>

namespace stoa::pool {

namespace {

constexpr size_t kHeaderBytes = 8;
constexpr uint64_t kAddressMask = 0xFFFFFFFFFFULL;

size_t padded(size_t n) { return (n + 7) / 8 * 8; }

template <class T>
void put(std::vector<std::byte>& out, T value) {
    const size_t at = out.size();
    out.resize(at + sizeof value);
    store_le(out.data() + at, value);
}

void put_entry(std::vector<std::byte>& out, const Entry& entry) {
    put(out, entry.low);
    put(out, entry.high);
}

size_t begin(std::vector<std::byte>& out, uint8_t type, uint8_t flags, size_t count) {
    const size_t at = out.size();
    put(out, type);
    put(out, flags);
    put(out, static_cast<uint16_t>(count));
    put(out, uint32_t{0});
    return at;
}

void end(std::vector<std::byte>& out, size_t at) {
    out.resize(at + padded(out.size() - at));
    store_le(out.data() + at + 4, static_cast<uint32_t>(out.size() - at));
}

Error bad(const char* what) {
    return {ErrorCode::corrupt, fmt::format("journal record is malformed: {}", what)};
}

// Bounds-checked reading.
class Reader {
public:
    explicit Reader(ConstBytes bytes) : bytes_(bytes) {}
    template <class T>
    bool get(T& value) {
        if (bytes_.size() - at_ < sizeof value) return false;
        value = load_le<T>(bytes_.data() + at_);
        at_ += sizeof value;
        return true;
    }
    bool get(Entry& entry) { return get(entry.low) && get(entry.high); }
    bool skip_to(size_t at) {
        if (at > bytes_.size() || at < at_) return false;
        at_ = at;
        return true;
    }
    [[nodiscard]] size_t at() const { return at_; }
    [[nodiscard]] size_t left() const { return bytes_.size() - at_; }
    [[nodiscard]] const std::byte* here() const { return bytes_.data() + at_; }

private:
    ConstBytes bytes_;
    size_t at_ = 0;
};

Result<Record> decode_map(Reader in, uint8_t flags, size_t count) {
    MapRecord r;
    r.shared = (flags & MapRecord::kShared) != 0;
    r.below = (flags & MapRecord::kBelow) != 0;
    uint64_t target = 0;
    Epoch birth = 0;
    if (!in.get(r.object) || !in.get(r.first) || !in.get(target) || !in.get(birth)) {
        return bad("short map record");
    }
    if (count < 1 || count > kFanout || r.first >= kBlocksPerTree ||
        r.first % kFanout + count > kFanout || birth >= kRecordEpochMax) {
        return bad("map record outside a leaf");
    }
    const auto kind_byte = static_cast<uint8_t>(target >> 56);
    const auto kind = static_cast<EntryKind>(kind_byte & 0x0F);
    const auto entry_flags = static_cast<uint8_t>(kind_byte & 0xF0);
    const BlockAddress address = target & kAddressMask;
    if (kind == EntryKind::data) {
        const size_t crcs = in.at();
        std::vector<uint32_t> crc(count);
        for (uint32_t& c : crc) {
            if (!in.get(c)) return bad("short checksums");
        }
        if (!in.skip_to(crcs + padded(4 * count))) return bad("short checksums");
        for (size_t i = 0; i < count; ++i) {
            Epoch own = birth;
            if ((flags & MapRecord::kOwnBirths) != 0 && !in.get(own)) return bad("short births");
            if (own >= kRecordEpochMax) return bad("impossible birth");
            r.now.push_back(Entry::make(kind, address + i, own, crc[i], entry_flags));
        }
    } else {
        if (address != 0) return bad("an address without data");
        r.now.assign(count, Entry::make(kind, 0, birth, 0, entry_flags));
    }
    for (const Entry& entry : r.now) {
        if (entry.kind() == EntryKind::node || !is_legal_entry(entry, 0)) return bad("new entry");
    }
    Entry old;
    for (size_t i = 0; i < count; ++i) {
        if ((i == 0 || (flags & MapRecord::kUniformOld) == 0) && !in.get(old)) {
            return bad("short old entries");
        }
        if (!is_legal_entry(old, 0)) return bad("old entry");
        r.old.push_back(old);
    }
    if ((flags & MapRecord::kUniformOld) != 0 && old.kind() == EntryKind::data) {
        return bad("uniform data");
    }
    for (size_t i = 0; i < count; ++i) {
        bool freed = (flags & MapRecord::kAllFreed) != 0;
        if ((flags & MapRecord::kSomeFreed) != 0) {
            if (in.left() < (count + 7) / 8) return bad("short freed bits");
            freed = (static_cast<unsigned>(in.here()[i / 8]) >> (i % 8) & 1) != 0;
        }
        r.freed.push_back(freed && r.old[i].kind() == EntryKind::data);
    }
    return Record(std::move(r));
}

Result<Record> decode_structure(Reader in, size_t count) {
    StructureRecord r;
    for (size_t i = 0; i < count; ++i) {
        uint64_t what = 0;
        if (!in.get(what)) return bad("short structure record");
        StructureItem item;
        if (what < 1 || what > 5) return bad("unknown structure item");
        item.what = static_cast<StructureItem::What>(what);
        switch (item.what) {
            case StructureItem::What::put: {
                if (in.left() < kObjectBytes) return bad("short object");
                TRY_ASSIGN(item.object, decode_object(in.here()));
                if (item.object.kind == ObjectKind::free) return bad("free object");
                if (!in.skip_to(in.at() + kObjectBytes)) return bad("short object");
                break;
            }
            case StructureItem::What::copy:
                if (!in.get(item.from) || !in.get(item.to)) return bad("short copy");
                break;
            case StructureItem::What::remove:
                if (!in.get(item.to)) return bad("short remove");
                break;
            case StructureItem::What::epoch:
                if (!in.get(item.epoch) || item.epoch >= kRecordEpochMax) return bad("epoch");
                break;
            case StructureItem::What::assign: {
                uint64_t region = 0;
                if (!in.get(region) || region > UINT32_MAX || in.left() < kRegionEntryBytes) {
                    return bad("short assignment");
                }
                item.region = static_cast<uint32_t>(region);
                TRY_ASSIGN(item.entry, decode_region(in.here(), region));
                if (!item.entry.in_use || item.entry.region_class != RegionClass::data) {
                    return bad("assignment of another class");
                }
                if (!in.skip_to(in.at() + kRegionEntryBytes)) return bad("short assignment");
                break;
            }
        }
        r.items.push_back(std::move(item));
    }
    return Record(std::move(r));
}

Result<Record> decode_reclaim(Reader in, size_t count) {
    ReclaimRecord r;
    if (!in.get(r.object) || !in.get(r.cursor) || !in.get(r.unmapped)) {
        return bad("short reclaim record");
    }
    if (r.cursor > kBlocksPerTree) return bad("reclaim cursor");
    for (size_t i = 0; i < count; ++i) {
        uint64_t run = 0;
        if (!in.get(run)) return bad("short reclaim record");
        if (run >> 40 == 0) return bad("empty run");
        r.freed.push_back({run & kAddressMask, run >> 40});
    }
    return Record(std::move(r));
}

Result<Record> decode_commit_end(Reader in) {
    CommitEnd r;
    if (!in.get(r.first_sequence) || !in.get(r.last_sequence) || !in.get(r.payload_bytes) ||
        !in.get(r.payload_crc) || !in.get(r.wall_ns)) {
        return bad("short commit end");
    }
    return Record(r);
}

}  // namespace

void encode_record(const MapRecord& r, std::vector<std::byte>& out) {
    const size_t count = r.now.size();
    const bool data = r.now[0].kind() == EntryKind::data;
    bool uniform = r.old[0].kind() != EntryKind::data;
    bool own_births = false;
    for (size_t i = 1; i < count; ++i) {
        uniform = uniform && r.old[i] == r.old[0];
        own_births = own_births || r.now[i].birth() != r.now[0].birth();
    }
    bool any_freed = false;
    bool all_freed = true;
    for (size_t i = 0; i < count; ++i) {
        any_freed = any_freed || r.freed[i];
        all_freed = all_freed && (r.freed[i] || r.old[i].kind() != EntryKind::data);
    }
    unsigned flags = uniform ? MapRecord::kUniformOld : 0U;
    if (any_freed) flags |= all_freed ? MapRecord::kAllFreed : MapRecord::kSomeFreed;
    if (own_births) flags |= MapRecord::kOwnBirths;
    if (r.shared) flags |= MapRecord::kShared;
    if (r.below) flags |= MapRecord::kBelow;
    const size_t at = begin(out, kRecordMap, static_cast<uint8_t>(flags), count);
    put(out, r.object);
    put(out, r.first);
    put(out, r.now[0].address() | uint64_t{r.now[0].kind_byte()} << 56);
    put(out, r.now[0].birth());
    if (data) {
        for (const Entry& entry : r.now) put(out, entry.crc());
        out.resize(at + padded(out.size() - at));
        if (own_births) {
            for (const Entry& entry : r.now) put(out, entry.birth());
        }
    }
    for (size_t i = 0; i < (uniform ? 1 : count); ++i) put_entry(out, r.old[i]);
    if ((flags & MapRecord::kSomeFreed) != 0) {
        const size_t bits = out.size();
        out.resize(bits + (count + 7) / 8);
        for (size_t i = 0; i < count; ++i) {
            if (r.freed[i]) out[bits + i / 8] |= static_cast<std::byte>(1U << (i % 8));
        }
    }
    end(out, at);
}

size_t encode_single_block(ObjectId object, BlockIndex block, const Entry& now, const Entry& old,
                           bool freed, std::byte* to) {
    unsigned flags = old.kind() != EntryKind::data ? MapRecord::kUniformOld : 0U;
    if (freed) flags |= MapRecord::kAllFreed;
    size_t at = 40;
    if (now.kind() == EntryKind::data) {
        store_le(to + 40, uint64_t{now.crc()});
        at = 48;
    }
    store_le(to, kRecordMap);
    store_le(to + 1, static_cast<uint8_t>(flags));
    store_le(to + 2, uint16_t{1});
    store_le(to + 4, static_cast<uint32_t>(at + 16));
    store_le(to + 8, object);
    store_le(to + 16, block);
    store_le(to + 24, now.address() | uint64_t{now.kind_byte()} << 56);
    store_le(to + 32, now.birth());
    store_le(to + at, old.low);
    store_le(to + at + 8, old.high);
    return at + 16;
}

void encode_record(const StructureRecord& r, std::vector<std::byte>& out) {
    const size_t at = begin(out, kRecordStructure, 0, r.items.size());
    for (const StructureItem& item : r.items) {
        put(out, static_cast<uint64_t>(item.what));
        switch (item.what) {
            case StructureItem::What::put: {
                ObjectRecord record = item.object;
                record.root = Entry{};  // replay has its own
                const size_t start = out.size();
                out.resize(start + kObjectBytes);
                encode_object(record, out.data() + start);
                break;
            }
            case StructureItem::What::copy:
                put(out, item.from);
                put(out, item.to);
                break;
            case StructureItem::What::remove: put(out, item.to); break;
            case StructureItem::What::epoch: put(out, item.epoch); break;
            case StructureItem::What::assign: {
                put(out, uint64_t{item.region});
                const size_t start = out.size();
                out.resize(start + kRegionEntryBytes);
                encode_region(item.entry, out.data() + start);
                break;
            }
        }
    }
    end(out, at);
}

void encode_record(const ReclaimRecord& r, std::vector<std::byte>& out) {
    const size_t at = begin(out, kRecordReclaim, 0, r.freed.size());
    put(out, r.object);
    put(out, r.cursor);
    put(out, r.unmapped);
    for (const Run& run : r.freed) put(out, run.address | run.count << 40);
    end(out, at);
}

void encode_record(const CommitEnd& r, std::vector<std::byte>& out) {
    const size_t at = begin(out, kRecordCommitEnd, 0, 0);
    put(out, r.first_sequence);
    put(out, r.last_sequence);
    put(out, r.payload_bytes);
    put(out, r.payload_crc);
    put(out, r.wall_ns);
    end(out, at);
}

Result<Record> decode_record(ConstBytes bytes, size_t& used) {
    if (bytes.size() < kHeaderBytes) return bad("short header");
    const auto type = load_le<uint8_t>(bytes.data());
    const auto flags = load_le<uint8_t>(bytes.data() + 1);
    const auto count = load_le<uint16_t>(bytes.data() + 2);
    const auto length = load_le<uint32_t>(bytes.data() + 4);
    if (length < kHeaderBytes || length % 8 != 0 || length > bytes.size()) return bad("length");
    used = length;
    Reader in(bytes.first(length));
    static_cast<void>(in.skip_to(kHeaderBytes));
    switch (type) {
        case kRecordMap: return decode_map(in, flags, count);
        case kRecordStructure: return decode_structure(in, count);
        case kRecordReclaim: return decode_reclaim(in, count);
        case kRecordCommitEnd: return decode_commit_end(in);
        default: return bad("unknown type");
    }
}

}  // namespace stoa::pool
