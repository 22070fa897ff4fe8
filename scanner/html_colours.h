/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The look that our pages have in common: where their style sheets begin. */
#pragma once

#define HTML_COLOURS                                                                               \
	":root{color-scheme:light dark;--fg:#1b1f24;--bg:#fff;--dim:#59636e;--line:#d1d9e0;"       \
	"--head:#f6f8fa;--high:#b42318;--medium:#9a5b00;--low:#0b6b8a}"                            \
	"@media(prefers-color-scheme:dark){:root{--fg:#e6edf3;--bg:#0d1117;--dim:#9198a1;"         \
	"--line:#3d444d;--head:#161b22;--high:#ff8178;--medium:#e3b341;--low:#6cc5e0}}"            \
	"*{box-sizing:border-box}"
