# Warnings, sanitizers, coverage: the interface target tb_options carries them to every target of ours.
set(TB_SANITIZE "" CACHE STRING "Sanitizers, comma separated: address,undefined")
option(TB_FUZZ "Build fuzz targets with libFuzzer (clang)" OFF)
option(TB_COVERAGE "Instrument for gcov" OFF)
option(TB_TESTS "Build the tests" ON)
option(TB_WERROR "Warnings are errors" ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
# Asserts stay on in every build: they catch our bugs.
foreach(type RELEASE RELWITHDEBINFO MINSIZEREL)
  string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${type} "${CMAKE_C_FLAGS_${type}}")
endforeach()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

# tb_glob(VAR pattern…): the files, sorted. CMake runs again when one comes into or leaves their folders. Unlike with
# CONFIGURE_DEPENDS the build does not look for new files each time, and `ninja -n` tells whether there is something to do.
function(tb_glob var)
  set(found "")
  foreach(pattern IN LISTS ARGN)
    file(GLOB files ${pattern})
    cmake_path(GET pattern PARENT_PATH folders)
    file(GLOB folders ${folders})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${folders})
    list(APPEND found ${files})
  endforeach()
  list(SORT found)
  set(${var} ${found} PARENT_SCOPE)
endfunction()

add_library(tb_options INTERFACE)
target_compile_options(tb_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes
  -Wformat=2 -Wundef -Wvla -fno-common -fvisibility=hidden)
target_compile_definitions(tb_options INTERFACE TB_VERSION="${PROJECT_VERSION}")
if(TB_WERROR)
  target_compile_options(tb_options INTERFACE -Werror)
endif()
if(TB_SANITIZE)
  target_compile_options(tb_options INTERFACE -fsanitize=${TB_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(tb_options INTERFACE -fsanitize=${TB_SANITIZE})
endif()
if(TB_FUZZ)
  target_compile_options(tb_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(TB_COVERAGE)
  target_compile_options(tb_options INTERFACE --coverage)
  target_link_options(tb_options INTERFACE --coverage)
endif()
