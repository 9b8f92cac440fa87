#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes what the Makefile needs on a fresh Debian or Ubuntu machine; does nothing that is done.
#
#   tools/bootstrap.sh venv       .venv: this project, its tests' and its collection's tools
#   tools/bootstrap.sh lab-venv   .lab/venv: Keystone, Heat, Nova, Octavia, Zaqar, Gnocchi, Ceilometer
#   tools/bootstrap.sh bench-venv .bench/aodh: Aodh and Gnocchi, which make bench compares with
#   tools/bootstrap.sh freeze     renew constraints.txt from .venv
#
# Debian packages that are missing are installed by apt (that needs root); no daemon is started.
set -eu
cd "$(dirname "$0")/.."

LOG_DIR=.lab/log
NEWEST_FIRST="/usr/bin/python3 python3.13 python3.12 python3.11 python3"

# Building libvirt-python takes the compiler and headers; .venv has it for the agent and the lab.
# The tests of the alarm database run on a PostgreSQL of their own, those of events on a RabbitMQ.
VENV_PACKAGES="ca-certificates git gcc libc6-dev make pkg-config libvirt-dev postgresql
    rabbitmq-server
    python3-venv python3-dev"
LAB_PACKAGES="libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils
    python3-libvirt python3-packaging procps mount util-linux prometheus redis-server"

# openstack.cloud 2.5, in ansible 12, does not work with openstacksdk 4.15 and later, which has no
# openstack.version any more.
VENV_WANTS="pytest pytest-xdist hypothesis schemathesis openapi-spec-validator ruff mypy types-PyYAML
    types-croniter build standardwebhooks
    ansible-core==2.19.* ansible==12.* ansible-lint antsibull-docs antsibull-changelog
    openstacksdk<4.15 python-openstackclient python-heatclient aodhclient"
# Heat's plugins are tested where Heat is: hence pytest and testtools. Gnocchi's extra "postgresql"
# would compile psycopg2.
LAB_WANTS="keystone openstack-heat nova openstack-placement glance octavia ceilometer gnocchi zaqar
    tempest telemetry-tempest-plugin libvirt-python psycopg2-binary psycopg[binary] SQLAlchemy-Utils
    waitress aodhclient pytest testtools"
# What `make bench` compares with. Gnocchi's extra "postgresql" would compile psycopg2.
BENCH_PACKAGES="prometheus"
BENCH_WANTS="aodh gnocchi SQLAlchemy-Utils alembic psycopg2-binary psycopg[binary] waitress"

say() { printf '==> %s\n' "$*"; }

fail() {
    printf 'bootstrap: %s\n' "$*" >&2
    exit 1
}

# run LOG COMMAND...: its output goes to a log, whose end is shown if it fails; what takes long
# says every 10 s that it still runs.
run() {
    log=$1
    shift
    mkdir -p "$LOG_DIR"
    "$@" >"$log" 2>&1 &
    child=$!
    seconds=0
    while kill -0 $child 2>/dev/null; do
        sleep 0.5
        seconds=$((seconds + 1))
        [ $((seconds % 20)) -ne 0 ] || say "  ... $((seconds / 2)) s, log: $log"
    done
    wait $child && return
    status=$?
    printf -- '--- the end of %s\n' "$log" >&2
    tail -n 30 "$log" >&2
    fail "failed ($status): $*; its log is $log"
}

# packages NAME...: install those that are missing.
packages() {
    missing=
    for package in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
        installed) ;;
        *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || fail "missing packages; as root: apt-get install$missing"
    say "installing Debian packages:$missing"
    run $LOG_DIR/apt-update.log apt-get -q update
    forbid_daemons
    # shellcheck disable=SC2086 # a list of names
    DEBIAN_FRONTEND=noninteractive run $LOG_DIR/apt-install.log apt-get -q -y \
        -o Dpkg::Options::=--force-confold install --no-install-recommends $missing
    allow_daemons
}

# Debian starts a daemon when it installs it, unless this file forbids it.
POLICY=/usr/sbin/policy-rc.d
forbid_daemons() {
    [ ! -e $POLICY ] || return 0
    trap allow_daemons EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\n# thermostat: until its packages are installed\nexit 101\n' >$POLICY
    chmod 755 $POLICY
}

allow_daemons() {
    if grep -qs '^# thermostat:' $POLICY; then rm $POLICY; fi
}

# The distribution's Python if it is new enough: the agent shares it with python3-libvirt.
find_python() {
    for python in $NEWEST_FIRST; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    fail "no Python 3.11 or newer found"
}

# stamp FILE WANTED: whether FILE says that WANTED is what was installed.
stamp() { [ -e "$1" ] && [ "$(cat "$1")" = "$2" ]; }

install_wheels() {
    uv=.venv/bin/uv
    log=$1
    shift
    # Root certificates of the system: a proxy's own may be among them.
    UV_NATIVE_TLS=1 UV_HTTP_TIMEOUT=180 run "$log" $uv pip install --compile-bytecode "$@"
}

make_venv() {
    wanted=$(sed '/^\[tool.ruff\]/,$d' pyproject.toml | cat - constraints.txt "$0" | cksum)
    ! stamp .venv/.stamp "$wanted" || return 0
    # shellcheck disable=SC2086 # lists of names
    packages $VENV_PACKAGES
    python=$(find_python)
    if [ ! -x .venv/bin/uv ]; then
        say "creating .venv with $python"
        run $LOG_DIR/venv.log "$python" -m venv --clear .venv
        run $LOG_DIR/venv.log .venv/bin/python -m pip install --quiet -c constraints.txt uv
    fi
    say "installing this project and its tools into .venv (about a minute)"
    set -f # the stars are not file names
    # shellcheck disable=SC2086
    install_wheels $LOG_DIR/venv-install.log --python .venv/bin/python -c constraints.txt \
        -e '.[agent,server,postgresql]' $VENV_WANTS
    printf '%s' "$wanted" >.venv/.stamp
    say ".venv is ready"
}

make_lab_venv() {
    make_venv
    wanted=$(cat tests/lab/constraints.txt "$0" | cksum)
    ! stamp .lab/venv/.stamp "$wanted" || return 0
    # shellcheck disable=SC2086
    packages $VENV_PACKAGES $LAB_PACKAGES
    if [ ! -x .lab/venv/bin/python ]; then
        say "creating .lab/venv"
        run $LOG_DIR/lab-venv.log .venv/bin/uv venv --python "$(find_python)" .lab/venv
    fi
    say "installing Keystone, Heat, Nova, Octavia, Zaqar, Gnocchi, Ceilometer into .lab/venv (about a minute)"
    # shellcheck disable=SC2086
    install_wheels $LOG_DIR/lab-venv-install.log --python .lab/venv/bin/python \
        -c tests/lab/constraints.txt $LAB_WANTS
    printf '%s' "$wanted" >.lab/venv/.stamp
    say ".lab/venv is ready"
}

make_bench_venv() {
    make_venv
    wanted=$(cat bench/peers/constraints.txt "$0" | cksum)
    ! stamp .bench/aodh/.stamp "$wanted" || return 0
    # shellcheck disable=SC2086
    packages $BENCH_PACKAGES
    if [ ! -x .bench/aodh/bin/python ]; then
        say "creating .bench/aodh"
        run $LOG_DIR/bench-venv.log .venv/bin/uv venv --python "$(find_python)" .bench/aodh
    fi
    say "installing Aodh and Gnocchi into .bench/aodh (about a minute)"
    # shellcheck disable=SC2086
    install_wheels $LOG_DIR/bench-venv-install.log --python .bench/aodh/bin/python \
        -c bench/peers/constraints.txt $BENCH_WANTS
    printf '%s' "$wanted" >.bench/aodh/.stamp
    say ".bench/aodh is ready"
}

freeze() {
    {
        sed -n '/^#/p' constraints.txt
        .venv/bin/uv pip freeze --python .venv/bin/python | grep -v '^-e ' | LC_ALL=C sort -f
    } >constraints.txt.new
    mv constraints.txt.new constraints.txt
    say "constraints.txt renewed"
}

case ${1-} in
venv) make_venv ;;
lab-venv) make_lab_venv ;;
bench-venv) make_bench_venv ;;
freeze) freeze ;;
*) fail "usage: $0 venv | lab-venv | bench-venv | freeze" ;;
esac
