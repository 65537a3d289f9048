# One folder = one library = one namespace; its tests, fuzz targets and benchmarks lie beside it.
#
#   stoa_library(NAME pool DEPENDS base io block TEST_DEPENDS io_sim)
#   stoa_program(NAME stoa-pool DEPENDS base io pool cli11)
#   stoa_test(NAME sim_test LABEL sim DEPENDS pool io_sim)
#   stoa_benchmarks(DEPENDS pool io)
#
# Sources are found by name: *_test.cc make one test program <NAME>_test, each *_fuzz.cc one
# libFuzzer program, each *_bench.cc one benchmark; all other *.cc are the library itself.
# DEPENDS names libraries as src/layers.txt does; tools/tidy.py compares the two.

# Adds `folder` if it has a CMakeLists.txt and any source; otherwise it is passed over.
function(stoa_folder folder)
    file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cc" "${folder}/*.h")
    if(sources AND EXISTS "${CMAKE_SOURCE_DIR}/${folder}/CMakeLists.txt")
        add_subdirectory(${folder})
    endif()
endfunction()

# Sets in the caller: stoa_sources, stoa_tests, stoa_fuzzers, stoa_benches of this folder.
macro(stoa_glob)
    file(GLOB stoa_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
    file(GLOB stoa_tests CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc")
    file(GLOB stoa_fuzzers CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*_fuzz.cc")
    file(GLOB stoa_benches CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*_bench.cc")
    list(REMOVE_ITEM stoa_sources ${stoa_tests} ${stoa_fuzzers} ${stoa_benches} "")
endmacro()

# Links `target` to what `names` stand for: a library of src/ (linked if its folder has code
# already) or one of cmake/dependencies.cmake.
function(stoa_link target scope)
    foreach(name IN LISTS ARGN)
        if(DEFINED STOA_TARGET_${name})
            target_link_libraries(${target} ${scope} ${STOA_TARGET_${name}})
        else()
            target_link_libraries(${target} ${scope} $<TARGET_NAME_IF_EXISTS:stoa_${name}>)
        endif()
    endforeach()
endfunction()

function(stoa_library)
    cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPENDS;TEST_DEPENDS" ${ARGN})
    stoa_glob()
    list(APPEND stoa_sources ${ARG_SOURCES})
    set(library stoa_${ARG_NAME})
    if(stoa_sources)
        add_library(${library} STATIC ${stoa_sources})
        target_include_directories(${library} PUBLIC "${CMAKE_SOURCE_DIR}/src")
        stoa_link(${library} PUBLIC ${ARG_DEPENDS})
        set_property(GLOBAL APPEND PROPERTY STOA_SHIPPED ${library})
    else()
        add_library(${library} INTERFACE)
        target_include_directories(${library} INTERFACE "${CMAKE_SOURCE_DIR}/src")
        stoa_link(${library} INTERFACE ${ARG_DEPENDS})
    endif()
    stoa_add_test(${ARG_NAME}_test unit "${stoa_tests}" ${ARG_NAME} ${ARG_DEPENDS}
                  ${ARG_TEST_DEPENDS})
    stoa_add_fuzzers("${stoa_fuzzers}" ${ARG_NAME} ${ARG_DEPENDS} ${ARG_TEST_DEPENDS})
    stoa_add_benchmarks("${stoa_benches}" ${ARG_NAME} ${ARG_DEPENDS} ${ARG_TEST_DEPENDS})
endfunction()

# A program to install. All code but main.cc is a library of its own, so that tests can link it.
function(stoa_program)
    cmake_parse_arguments(ARG "" "NAME" "DEPENDS;TEST_DEPENDS" ${ARGN})
    stoa_glob()
    set(main "${CMAKE_CURRENT_SOURCE_DIR}/main.cc")
    if(NOT main IN_LIST stoa_sources)
        return()
    endif()
    list(REMOVE_ITEM stoa_sources "${main}")
    add_executable(${ARG_NAME} "${main}")
    target_include_directories(${ARG_NAME} PRIVATE "${CMAKE_SOURCE_DIR}/src")
    string(REPLACE "-" "_" word "${ARG_NAME}")
    if(stoa_sources)
        add_library(${word}_parts STATIC ${stoa_sources})
        target_include_directories(${word}_parts PUBLIC "${CMAKE_SOURCE_DIR}/src")
        stoa_link(${word}_parts PUBLIC ${ARG_DEPENDS})
        target_link_libraries(${ARG_NAME} PRIVATE ${word}_parts)
    endif()
    stoa_link(${ARG_NAME} PRIVATE ${ARG_DEPENDS})
    set_property(GLOBAL APPEND PROPERTY STOA_SHIPPED ${ARG_NAME})
    install(TARGETS ${ARG_NAME} RUNTIME)

    stoa_add_test(${word}_test unit "${stoa_tests}" ${ARG_DEPENDS} ${ARG_TEST_DEPENDS})
    if(TARGET ${word}_test)
        target_link_libraries(${word}_test PRIVATE $<TARGET_NAME_IF_EXISTS:${word}_parts>)
        # Tests of the command line start the program itself.
        add_dependencies(${word}_test ${ARG_NAME})
        set_tests_properties(${word}_test PROPERTIES ENVIRONMENT
                             "STOA_PROGRAM=$<TARGET_FILE:${ARG_NAME}>")
    endif()
endfunction()

# A folder of tests over several libraries: all its *.cc are one test program.
function(stoa_test)
    cmake_parse_arguments(ARG "" "NAME;LABEL" "DEPENDS" ${ARGN})
    stoa_glob()
    if(stoa_tests)
        stoa_add_test(${ARG_NAME} ${ARG_LABEL} "${stoa_tests};${stoa_sources}" ${ARG_DEPENDS})
    endif()
    if(stoa_fuzzers AND stoa_sources)
        # What tests and fuzz targets of the folder share.
        add_library(${ARG_NAME}_parts STATIC EXCLUDE_FROM_ALL ${stoa_sources})
        target_include_directories(${ARG_NAME}_parts PUBLIC "${CMAKE_SOURCE_DIR}/src"
                                                            "${CMAKE_SOURCE_DIR}")
        stoa_link(${ARG_NAME}_parts PUBLIC ${ARG_DEPENDS})
    endif()
    stoa_add_fuzzers("${stoa_fuzzers}" ${ARG_DEPENDS})
    foreach(fuzzer IN LISTS stoa_fuzzers)
        cmake_path(GET fuzzer STEM target)
        target_link_libraries(${target} PRIVATE $<TARGET_NAME_IF_EXISTS:${ARG_NAME}_parts>)
    endforeach()
endfunction()

function(stoa_benchmarks)
    cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
    stoa_glob()
    stoa_add_benchmarks("${stoa_benches}" ${ARG_DEPENDS})
endfunction()

function(stoa_add_test target label sources)
    if(NOT sources OR STOA_FUZZ)
        return()
    endif()
    add_executable(${target} ${sources})
    target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}")
    stoa_link(${target} PRIVATE ${ARGN} gtest)
    target_link_libraries(${target} PRIVATE GTest::gtest_main)
    add_test(NAME ${target} COMMAND ${target} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
    set_tests_properties(${target} PROPERTIES LABELS ${label})
endfunction()

# Outside the fuzz preset a target is compiled on demand only: lint needs its command.
function(stoa_add_fuzzers sources)
    foreach(source IN LISTS sources)
        cmake_path(GET source STEM target)
        if(STOA_FUZZ)
            add_executable(${target} ${source})
            target_link_options(${target} PRIVATE -fsanitize=fuzzer)
            set_target_properties(${target} PROPERTIES
                                  RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/targets")
        else()
            add_library(${target} OBJECT EXCLUDE_FROM_ALL ${source})
        endif()
        target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/src"
                                                     "${CMAKE_SOURCE_DIR}")
        stoa_link(${target} PRIVATE ${ARGN})
    endforeach()
endfunction()

function(stoa_add_benchmarks sources)
    if(NOT STOA_BENCH)
        return()
    endif()
    foreach(source IN LISTS sources)
        cmake_path(GET source STEM target)
        add_executable(${target} ${source})
        target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}")
        stoa_link(${target} PRIVATE ${ARGN} benchmark)
        target_link_libraries(${target} PRIVATE benchmark::benchmark_main)
        set_target_properties(${target} PROPERTIES
                              RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bench")
    endforeach()
endfunction()
