#include "tests/golden/manifest.h"

#include <fmt/format.h>

#include <sstream>

namespace stoa::golden {

namespace {

std::string hex(const std::vector<std::byte>& bytes) {
    std::string text;
    for (const std::byte b : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(b));
    return text;
}

std::vector<std::byte> unhex(const std::string& text) {
    std::vector<std::byte> bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoul(text.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

// The words of a line; "key=value" by key, the others by their place.
struct Line {
    std::vector<std::string> words;
    std::map<std::string, std::string> values;

    [[nodiscard]] std::string word(size_t i) const { return i < words.size() ? words[i] : ""; }
    [[nodiscard]] std::string value(const std::string& key) const {
        const auto found = values.find(key);
        return found == values.end() ? "" : found->second;
    }
    [[nodiscard]] uint64_t number(size_t i) const {
        return std::strtoull(word(i).c_str(), nullptr, 0);
    }
};

Line split(const std::string& text) {
    Line line;
    std::istringstream in(text);
    for (std::string word; in >> word;) {
        const size_t equals = word.find('=');
        if (equals == std::string::npos) line.words.push_back(word);
        else line.values[word.substr(0, equals)] = word.substr(equals + 1);
    }
    return line;
}

Result<Tree> parse_tree(const Line& line) {
    Tree tree;
    tree.is_volume = line.word(0) == "volume";
    TRY_ASSIGN(tree.uuid, Uuid::parse(line.word(1)));
    tree.name = line.word(2);
    tree.size_bytes = line.number(3);
    TRY_ASSIGN(tree.parent, Uuid::parse(line.value("parent")));
    tree.is_protected = line.value("protected") == "1";
    if (tree.is_volume) {
        tree.tags = unhex(line.value("tags"));
    } else {
        TRY_ASSIGN(tree.volume, Uuid::parse(line.value("volume")));
    }
    return tree;
}

Result<void> take(const Line& line, Manifest& manifest) {
    const std::string what = line.word(0);
    if (what == "pool") {
        manifest.pool_name = line.word(1);
        TRY_ASSIGN(manifest.pool, Uuid::parse(line.word(2)));
        manifest.devices = std::strtoull(line.value("devices").c_str(), nullptr, 10);
        manifest.closed = line.value("closed") == "1";
    } else if (what == "volume" || what == "snapshot") {
        TRY_ASSIGN(Tree tree, parse_tree(line));
        manifest.trees.push_back(std::move(tree));
    } else if (what == "block" && !manifest.trees.empty()) {
        manifest.trees.back().blocks[line.number(1)] = static_cast<uint32_t>(line.number(2));
    } else if (what == "damaged" && !manifest.trees.empty()) {
        manifest.trees.back().damaged.insert(line.number(1));
    } else {
        return Error(ErrorCode::corrupt, "it says neither pool, tree nor block");
    }
    return {};
}

}  // namespace

std::string to_text(const Manifest& manifest) {
    std::string text = fmt::format("pool {} {} devices={} closed={:d}\n", manifest.pool_name,
                                   manifest.pool.to_string(), manifest.devices, manifest.closed);
    for (const Tree& tree : manifest.trees) {
        text += fmt::format(
            "{} {} {} {} parent={} protected={:d} {}\n", tree.is_volume ? "volume" : "snapshot",
            tree.uuid.to_string(), tree.name, tree.size_bytes, tree.parent.to_string(),
            tree.is_protected,
            tree.is_volume ? "tags=" + hex(tree.tags) : "volume=" + tree.volume.to_string());
        for (const auto& [index, crc] : tree.blocks) {
            text += fmt::format("block {} {:#010x}\n", index, crc);
        }
        for (const uint64_t index : tree.damaged) text += fmt::format("damaged {}\n", index);
    }
    return text;
}

Result<Manifest> parse_manifest(const std::string& text) {
    Manifest manifest;
    std::istringstream in(text);
    size_t number = 0;
    for (std::string line; std::getline(in, line);) {
        ++number;
        Result<void> taken = take(split(line), manifest);
        if (!taken.ok()) return taken.error().with_context(fmt::format("line {}", number));
    }
    return manifest;
}

}  // namespace stoa::golden
