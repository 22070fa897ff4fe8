/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Services that greet their clients. They are no HTTP servers, and take a request badly: MySQL
 * counts it against the host and locks it out (max_connect_errors), sshd and mail servers log an
 * attack, fail2ban acts on that.
 */
#include "daemon/agent/listeners.h"

#include "common/cleanup.h"

#include <string.h>

bool speaks_first(uint16_t port, const char *command)
{
	static const uint16_t ports[] = {
	    21,   /* FTP */
	    22,   /* SSH */
	    23,   /* Telnet */
	    25,   /* SMTP */
	    110,  /* POP3 */
	    119,  /* NNTP */
	    143,  /* IMAP */
	    587,  /* submission */
	    3306, /* MySQL */
	    4190, /* ManageSieve */
	    5666, /* NRPE: one client at a time */
	    5900, /* VNC */
	};
	static const char *const commands[] = {
	    "sshd",    "dropbear", "mysqld",  "mariadbd",  "exim4", "exim",      "sendmail",
	    "dovecot", "vsftpd",   "proftpd", "pure-ftpd", "smtpd", "opensmtpd", "Xvnc",
	};

	for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
		if (ports[i] == port)
			return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i], command) == 0)
			return true;
	}
	return false;
}
