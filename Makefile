# Thin words for the tools; each is explained in CONTRIBUTING.md.
PRESET ?= release
PREFIX ?= /usr/local
MINUTES ?= 10

.PHONY: setup build test bench soak lint lint-all format demo install deb clean

setup:
	@tools/setup.sh

build: setup
	@cmake --preset $(PRESET) >/dev/null
	@cmake --build --preset $(PRESET)

test: setup
	@tools/test.sh

bench: build
	@tools/bench.sh

soak: build
	@tools/soak.sh $(MINUTES)

lint: setup
	@tools/lint.sh

lint-all: setup
	@tools/lint.sh --all

format:
	@find src tests bench \( -name '*.h' -o -name '*.cc' \) -print0 | xargs -0 clang-format-19 -i

demo: build
	@tools/demo.sh

install: build
	@DESTDIR="$(DESTDIR)" cmake --install build/$(PRESET) --prefix "$(PREFIX)"

deb: build
	@cd build/$(PRESET) && cpack -G DEB

clean:
	@rm -rf build
