# SPDX-License-Identifier: GPL-2.0-or-later
# Runs at install time; see CMakeLists.txt.
function(pw_under_prefix dir out)
  if(IS_ABSOLUTE "${dir}")
    set(${out} "${dir}" PARENT_SCOPE)
  else()
    set(${out} "${CMAKE_INSTALL_PREFIX}/${dir}" PARENT_SCOPE)
  endif()
endfunction()

pw_under_prefix("${PW_SBIN}" SBINDIR)
# The programs look there by themselves (common/paths.c); /usr has its configuration in /etc.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(SYSCONFDIR /etc/pprofwall)
else()
  pw_under_prefix("${PW_SYSCONF}/pprofwall" SYSCONFDIR)
endif()
configure_file("${PW_SOURCE}/pprofwalld.service.in" "${PW_BINARY}/pprofwalld.service" @ONLY)
file(INSTALL "${PW_BINARY}/pprofwalld.service"
  DESTINATION "${CMAKE_INSTALL_PREFIX}/lib/systemd/system")

# The configuration belongs to whoever edited it: another installation puts its own beside it.
set(PW_SHIPPED "${PW_SOURCE}/../conf/pprofwall.yaml")
set(PW_INSTALLED "$ENV{DESTDIR}${SYSCONFDIR}/pprofwall.yaml")
set(PW_RENAME pprofwall.yaml)
if(EXISTS "${PW_INSTALLED}")
  file(SHA256 "${PW_SHIPPED}" PW_SHIPPED_HASH)
  file(SHA256 "${PW_INSTALLED}" PW_INSTALLED_HASH)
  if(NOT PW_SHIPPED_HASH STREQUAL PW_INSTALLED_HASH)
    message(STATUS "Keeping: ${PW_INSTALLED}; the shipped one becomes pprofwall.yaml.new")
    set(PW_RENAME pprofwall.yaml.new)
  endif()
endif()
file(INSTALL "${PW_SHIPPED}" DESTINATION "${SYSCONFDIR}" RENAME "${PW_RENAME}")
