# Target `man` (not in the default build): manual pages from --help, by help2man, in <build>/man. `cmake --install` takes what is there.
find_program(HELP2MAN help2man)
if(NOT HELP2MAN)
  add_custom_target(man COMMAND ${CMAKE_COMMAND} -E echo "help2man is not installed" COMMAND ${CMAKE_COMMAND} -E false)
  return()
endif()

set(folder ${CMAKE_BINARY_DIR}/man)
# Lines as they are written, headings that help2man knows as such, no note on short options.
set(format ARGP_HELP_FMT=rmargin=600,header-col=0,no-dup-args-note)

# tb_man(target page "what it is" [subcommand])
function(tb_man target page what)
  add_custom_command(OUTPUT ${folder}/${page}.1
    COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
    COMMAND ${CMAKE_COMMAND} -E env ${format} ${HELP2MAN} --no-info --name=${what} --version-string=${PROJECT_VERSION}
            --source=IoT\ SAFE\ testbed --output=${folder}/${page}.1 "$<TARGET_FILE:${target}>$<$<BOOL:${ARGN}>: ${ARGN}>"
    DEPENDS ${target} VERBATIM)
  set_property(GLOBAL APPEND PROPERTY tb_man_pages ${folder}/${page}.1)
endfunction()

tb_man(sim-card sim-card "SIM card with the GSMA IoT SAFE applet")
tb_man(sim-modem sim-modem "cellular modem in software")
tb_man(iot-device iot-device "MQTT over TLS with the key in an IoT SAFE card")
tb_man(iot-hub iot-hub "TLS and MQTT for devices that have an IoT SAFE card")
tb_man(iotsafe-keyref iotsafe-keyref "name a key in an IoT SAFE card for OpenSSL's programs")
tb_man(iotsafe_tool iotsafe "try an IoT SAFE card")
tb_man(iot-bench iot-bench "benchmarks of the IoT SAFE testbed")
tb_man(testbed testbed "SIM card, modem, device and hub on one machine")
foreach(command demo run list up ctl apdu at trace)
  tb_man(testbed testbed-${command} "part of the IoT SAFE testbed" ${command})
endforeach()

get_property(pages GLOBAL PROPERTY tb_man_pages)
add_custom_target(man DEPENDS ${pages})
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL)
