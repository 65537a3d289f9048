# Language, warnings, linker, sanitizers and ccache for all targets.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(STOA_CCACHE ccache)
if(STOA_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${STOA_CCACHE}")
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")
add_link_options(-fuse-ld=lld)

set(stoa_sanitizers "${STOA_SANITIZE}")
if(STOA_FUZZ)
    string(APPEND stoa_sanitizers ",fuzzer-no-link")
endif()
if(stoa_sanitizers)
    add_compile_options(-fsanitize=${stoa_sanitizers} -fno-sanitize-recover=all
                        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${stoa_sanitizers} -fno-sanitize-recover=all)
endif()

if(STOA_MUTANTS)
    add_compile_definitions(STOA_MUTANTS)
endif()
