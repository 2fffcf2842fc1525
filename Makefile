# SPDX-License-Identifier: GPL-2.0

variables := KDIR FIX PROFILE FILTER SCHEDULE SLOW TIMEOUT MESSAGES N MINUTES V QUICK
$(foreach name,$(.VARIABLES),$(if $(filter command line,$(origin $(name))),$(if $(filter $(variables),$(name)),\
  $(if $($(name)),,$(error $(name)= is empty: leave it out)),$(error there is no variable $(name), only $(variables)))))

# All that is given is passed on to the commands in tools/, which refuse what they cannot use. See their --help.
option = $(if $($(1)),--$(2) '$($(1))')
fix = $(call option,FIX,fix)
options = $(call option,KDIR,kdir) $(fix) $(call option,PROFILE,profile) $(call option,TIMEOUT,timeout) \
  $(call option,FILTER,filter) $(call option,SCHEDULE,schedule) $(if $(filter-out 0,$(SLOW)),--slow) $(call option,MESSAGES,messages) \
  $(call option,N,repeat) $(call option,MINUTES,soak) $(call option,V,version) $(if $(filter-out 0,$(QUICK)),--quick)

.PHONY: help check selftest matrix mutants coverage repeat soak bench bench-loop series series-check test clean

## make check     build a kernel for UML with the fix, run the suites, give a verdict
## make selftest  boot that kernel from the files of this machine, and run tests with libfuse
## make matrix    judge every implementation there has been, and write a table, also as HTML
## make mutants   put each small mistake into the fix, and see whether the suites notice it
## make coverage  what the suites reach of the functions that the fix changes (clang)
## make repeat    boot the suites N=1000 times, and count what is not a clean pass
## make soak      a server, clients and notifications for MINUTES=10, with KASAN and lockdep
## make bench     what a call costs, with the fix and with 7.3 as it is
## make bench-loop  how long one waits for a verdict, compared with plain kunit.py
## make series    write all that goes to other projects as mails: five series, in out/series/
## make series-check  test these, on trees that are made by git am alone (half an hour)
## make test      the tests of this project itself (a quarter of an hour or more)
## make test QUICK=1  those to run before every commit
## make clean     remove build/ (the cache folder stays: the kernel source, and what was compiled);
##                with PROFILE=debug only what was built for that, and by make test
##
## Variables of make check; others refuse what makes no sense for them:
##   KDIR=DIR        your own kernel tree, 7.2 or later (default: from Debian)
##   FIX=FILE        a patch of the tree to judge in place of ours, or none: the tree as it is;
##                   FIX=a.patch FIX+=b.patch adds several to the matrix
##   PROFILE=debug   with KASAN, lockdep and more; smp: on four processors; debug,smp: both (default: fast)
##   FILTER=GLOB     only these cases, e.g. 'fuse_inval_entry.negative*'
##   SCHEDULE=GLOB   only these schedules of fuse_inval_race, e.g. 'file.inval.unlink:*'
##   SLOW=1          every preemption point
##   TIMEOUT=20      seconds after which a kernel that spins is ended (default: 120; debug: 600)
##   MESSAGES=300    of selftest: how many random messages of each kind
##   N, MINUTES      of repeat and soak, see above
##   V=2             of series: version 2 of each
## More, such as JSON and JUnit results or other architectures: tools/judge --help
help:
	@sed -n 's/^## \?//p' Makefile

# What each takes, see tools/deps, and the command behind it if that has another name.
check mutants repeat bench-loop: deps := build
selftest matrix soak series: deps := selftest
coverage bench test: deps = $@
command = $@
check: command := judge
mutants: command := mutate
bench-loop: command := bench loop
repeat: command := judge
repeat: N ?= 1000
soak: command := selftest
soak: PROFILE ?= debug,smp
soak: MINUTES ?= 10
matrix: fix = $(foreach one,$(FIX),--fix '$(one)')

check selftest matrix mutants coverage repeat soak bench bench-loop series test:
	@tools/deps $(deps) && tools/$(command) $(options)

series-check: series
	@tools/deps series && tools/series --check $(call option,KDIR,kdir) $(call option,TIMEOUT,timeout)

clean:
	rm -rf $(if $(PROFILE),build/*/src/kunit-'$(PROFILE)' build/test_*,build)
