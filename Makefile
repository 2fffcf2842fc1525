# SPDX-License-Identifier: GPL-2.0

# Passed on to tools/judge, see `tools/judge --help`.
options = $(if $(KDIR),--kdir '$(KDIR)') $(if $(FIX),--fix '$(FIX)') \
	  $(if $(PROFILE),--profile '$(PROFILE)') $(if $(FILTER),--filter '$(FILTER)') \
	  $(if $(SCHEDULE),--schedule '$(SCHEDULE)')

.PHONY: help check matrix test clean

help:
	@echo 'make check   build a kernel with the fix in UML, run the suites, give a verdict'
	@echo 'make matrix  judge every implementation there has been, and show a table and a page'
	@echo 'make test    the tests of this project itself (takes a while)'
	@echo 'make clean   remove build/ (the kernel source stays in the cache folder)'
	@echo
	@echo 'Variables of make check:'
	@echo '  KDIR=DIR        your own kernel tree, 7.2 or later (default: from Debian)'
	@echo '  FIX=FILE        a patch of fs/fuse/dir.c to judge in place of ours;'
	@echo '                  "none" judges the tree as it is'
	@echo '  PROFILE=debug   with KASAN, lockdep and more (default: fast)'
	@echo "  FILTER=GLOB     only these cases, e.g. 'fuse_inval_entry.race_*'"
	@echo "  SCHEDULE=GLOB   only these schedules of fuse_inval_race, e.g. 'file.inval.*'"
	@echo 'Variables of make matrix: KDIR, PROFILE, and FIX for one more implementation, or'
	@echo '  FIX=a.patch FIX+=b.patch  for several'
	@echo 'More, such as JSON and JUnit results: tools/judge --help, tools/matrix --help'

check:
	@tools/deps
	@tools/judge $(options)

matrix:
	@tools/deps
	@tools/matrix $(if $(KDIR),--kdir '$(KDIR)') $(if $(PROFILE),--profile '$(PROFILE)') \
	  $(foreach fix,$(FIX),--fix '$(fix)')

test:
	@tools/deps test
	@tools/test

clean:
	rm -rf build
