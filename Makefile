# SPDX-License-Identifier: GPL-2.0

variables := KDIR FIX PROFILE FILTER SCHEDULE SLOW TIMEOUT MESSAGES N MINUTES V QUICK
$(foreach name,$(.VARIABLES),$(if $(filter command line,$(origin $(name))),$(if $(filter $(variables),$(name)),,\
  $(error there is no variable $(name), only $(variables)))))

# Passed on to the commands in tools/, see their --help.
tree = $(if $(KDIR),--kdir '$(KDIR)')
profile = $(if $(PROFILE),--profile '$(PROFILE)')
fix = $(if $(FIX),--fix '$(FIX)')
timeout = $(if $(TIMEOUT),--timeout '$(TIMEOUT)')

.PHONY: help check selftest matrix mutants coverage repeat soak bench bench-loop series series-check test clean

help:
	@echo 'make check     build a kernel for UML with the fix, run the suites, give a verdict'
	@echo 'make selftest  boot that kernel from the files of this machine, and run tests with libfuse'
	@echo 'make matrix    judge every implementation there has been, and write a table, also as HTML'
	@echo 'make mutants   put each small mistake into the fix, and see whether the suites notice it'
	@echo 'make coverage  what the suites reach of the functions that the fix changes (clang)'
	@echo 'make repeat    boot the suites N=1000 times, and count what is not a clean pass'
	@echo 'make soak      a server, clients and notifications for MINUTES=10, with KASAN and lockdep'
	@echo 'make bench     what a call costs, with the fix and with 7.3 as it is'
	@echo 'make bench-loop  how long one waits for a verdict, compared with plain kunit.py'
	@echo 'make series    write all that goes to other projects as mails: five series, in out/series/'
	@echo 'make series-check  test these, on trees that are made by git am alone (half an hour)'
	@echo 'make test      the tests of this project itself (a quarter of an hour or more)'
	@echo 'make test QUICK=1  those to run before every commit'
	@echo 'make clean     remove build/ (the cache folder stays: the kernel source, and what was compiled);'
	@echo '               with PROFILE=debug only what was built for that, and by make test'
	@echo
	@echo 'Variables of make check, and of the others where that makes sense:'
	@echo '  KDIR=DIR        your own kernel tree, 7.2 or later (default: from Debian)'
	@echo '  FIX=FILE        a patch of the tree to judge in place of ours;'
	@echo '                  "none" judges the tree as it is;'
	@echo '                  FIX=a.patch FIX+=b.patch adds several to the matrix'
	@echo '  PROFILE=debug   with KASAN, lockdep and more; smp: on four processors;'
	@echo '                  debug,smp: both (default: fast)'
	@echo "  FILTER=GLOB     only these cases, e.g. 'fuse_inval_entry.negative*'"
	@echo "  SCHEDULE=GLOB   only these schedules of fuse_inval_race, e.g. 'file.inval.unlink:*'"
	@echo '  SLOW=1          every preemption point'
	@echo '  TIMEOUT=20      seconds after which a kernel that spins is ended (default: 120; debug: 600)'
	@echo '  MESSAGES=300    of selftest: how many random messages of each kind'
	@echo '  N, MINUTES      of repeat and soak, see above'
	@echo '  V=2             of series: version 2 of each'
	@echo 'More, such as JSON and JUnit results or other architectures: tools/judge --help'

check:
	@tools/deps
	@tools/judge $(tree) $(fix) $(profile) $(timeout) $(if $(FILTER),--filter '$(FILTER)') \
	  $(if $(SCHEDULE),--schedule '$(SCHEDULE)') $(if $(SLOW),--slow)

selftest:
	@tools/deps selftest
	@tools/selftest $(tree) $(fix) $(profile) $(timeout) $(if $(MESSAGES),--messages '$(MESSAGES)')

matrix:
	@tools/deps selftest
	@tools/matrix $(tree) $(profile) $(timeout) $(foreach one,$(FIX),--fix '$(one)')

mutants:
	@tools/deps
	@tools/mutate $(tree)

coverage:
	@tools/deps coverage
	@tools/coverage $(tree) $(fix)

repeat:
	@tools/deps
	@tools/repeat $(tree) $(fix) $(profile) $(if $(N),-n '$(N)')

soak:
	@tools/deps selftest
	@tools/soak $(tree) $(fix) $(profile) $(if $(MINUTES),--minutes '$(MINUTES)')

bench:
	@tools/deps bench
	@tools/bench $(tree) $(fix)

bench-loop:
	@tools/deps
	@tools/bench-loop $(tree)

series:
	@tools/deps selftest
	@tools/series $(tree) $(if $(V),--version '$(V)')

series-check:
	@tools/deps series
	@tools/series-check

test:
	@tools/deps test
	@tools/test $(if $(QUICK),--quick)

clean:
	rm -rf $(if $(PROFILE),build/*/src/kunit-'$(PROFILE)' build/test-*,build)
