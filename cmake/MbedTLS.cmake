# Mbed TLS 3.6 for the device: target mbedtls_device, a static library with our configuration, built from the
# distribution's source package (get-mbedtls.sh) or from MBEDTLS_SOURCE_DIR. Not by Mbed TLS's own CMake files: those
# change flags of the whole project, look for Python, and bring tests and programs.
#
# The sources are kept outside of the build folder, once for all build folders: TB_CACHE_DIR.
option(TB_MBEDTLS "Build the device's second TLS stack, Mbed TLS" ON)
set(MBEDTLS_SOURCE_DIR "" CACHE PATH "Unpacked Mbed TLS 3.6.x; empty: fetched from the distribution")
if(NOT TB_MBEDTLS)
  return()
endif()

if(NOT DEFINED TB_CACHE_DIR)
  if(DEFINED ENV{XDG_CACHE_HOME})
    set(cache $ENV{XDG_CACHE_HOME})
  elseif(DEFINED ENV{HOME})
    set(cache $ENV{HOME}/.cache)
  endif()
  if(IS_ABSOLUTE "${cache}")
    file(MAKE_DIRECTORY ${cache}/iotsafe-testbed RESULT failed)
  endif()
  if(NOT IS_ABSOLUTE "${cache}" OR failed)
    set(cache ${CMAKE_BINARY_DIR})
  endif()
  set(TB_CACHE_DIR ${cache}/iotsafe-testbed CACHE PATH "Sources that are fetched once for all build folders")
endif()

set(mbedtls_source ${MBEDTLS_SOURCE_DIR})
if(NOT mbedtls_source)
  set(mbedtls_source ${TB_CACHE_DIR}/mbedtls-3.6)
  execute_process(COMMAND ${CMAKE_CURRENT_LIST_DIR}/get-mbedtls.sh ${mbedtls_source}
    RESULT_VARIABLE failed OUTPUT_VARIABLE said ERROR_VARIABLE complaint OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(failed)
    message(FATAL_ERROR "${complaint}")
  endif()
  if(said)
    message(STATUS "${said}")
  endif()
endif()
if(NOT EXISTS ${mbedtls_source}/include/mbedtls/build_info.h)
  message(FATAL_ERROR "MBEDTLS_SOURCE_DIR: ${mbedtls_source} is no source of Mbed TLS 3.6")
endif()
# Whoever empties the cache has it fetched again by the next build.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${mbedtls_source}/include/mbedtls/build_info.h)
file(STRINGS ${mbedtls_source}/include/mbedtls/build_info.h version REGEX "define MBEDTLS_VERSION_STRING ")
string(REGEX REPLACE ".*\"(.*)\".*" "\\1" MBEDTLS_VERSION "${version}")
if(NOT MBEDTLS_VERSION MATCHES "^3\\.6\\.")
  message(FATAL_ERROR "${mbedtls_source} is Mbed TLS ${MBEDTLS_VERSION}; 3.6 is wanted")
endif()
message(STATUS "Mbed TLS ${MBEDTLS_VERSION}: ${mbedtls_source}")

file(GLOB mbedtls_files ${mbedtls_source}/library/*.c)
add_library(mbedtls_device STATIC ${mbedtls_files})
target_include_directories(mbedtls_device SYSTEM
  PUBLIC ${mbedtls_source}/include
  PRIVATE ${mbedtls_source}/library)
target_include_directories(mbedtls_device PUBLIC ${CMAKE_SOURCE_DIR}/device/psa-driver/config)
target_compile_definitions(mbedtls_device PUBLIC MBEDTLS_CONFIG_FILE="mbedtls_device_config.h")
target_link_libraries(mbedtls_device PUBLIC Threads::Threads)
# Each file a compilation unit of its own: the linker's --wrap sees calls between units only.
set_target_properties(mbedtls_device PROPERTIES UNITY_BUILD OFF INTERPROCEDURAL_OPTIMIZATION OFF)
target_compile_options(mbedtls_device PRIVATE -w -fvisibility=hidden)
if(TB_SANITIZE)
  target_compile_options(mbedtls_device PRIVATE -fsanitize=${TB_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(mbedtls_device INTERFACE -fsanitize=${TB_SANITIZE})
endif()
if(TB_FUZZ)
  target_compile_options(mbedtls_device PRIVATE -fsanitize=fuzzer-no-link)
endif()
