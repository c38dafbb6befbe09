#!/bin/sh
# Installs, updates and removes the base station's service; takes nothing from a network unless asked.
set -eu
# Whoever installs, the service's account reads it; and no setting of this shell mixes other packages in.
umask 022
unset PYTHONPATH PYTHONHOME

usage() {
    cat <<END
usage: install.sh --wheels DIR [--board NAME] [--cell NAME] [--bundle DIR] [options]
       install.sh --uninstall [--purge] [--root DIR]

Installs a base station from a folder of wheels (collect_wheels.sh makes one). Safe to repeat: what is there and
right stays; software goes into a folder of its own and is switched to at the end; a configuration that is there is
never changed.

  --wheels DIR      folder of wheels with SHA256SUMS
  --online          take the packages from the package index that pip is configured for, instead of --wheels
  --board NAME      configuration to begin with: a file of edge_configs/ (default: x86-cpu)
  --cell NAME       name of the cell and of its file, /etc/networld/NAME.toml (default: cell-0)
  --bundle DIR      bundle to copy (default: the repository's bundles/networld, if no bundle was installed)
  --drop-in NAME    add systemd/drop-ins/NAME.conf to the service: broker, cores, gpu, key, password; may be
                    repeated
  --root DIR        install below DIR instead of /: for a trial, without root
  --python FILE     the board's Python, 3.10 or newer (default: python3)
  --dry-run         print what would be done, do nothing
  --uninstall       remove software and units; configuration, bundle and state stay
  --purge           with --uninstall: remove these, too
  --help            show this

exit codes:
  0 success   1 failed   2 usage   3 the cell's configuration does not pass networld-agent check

example:
  sudo edge_configs/install.sh --wheels wheels --board raspberry-pi-5 --cell cell-3
END
}

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

step() {
    echo "install.sh: $1"
}

# Prints a command in a dry run, else runs it.
run() {
    if [ -n "$dry_run" ]; then
        echo "would run: $*"
    else
        "$@"
    fi
}

# Lets the link $2 point to $1: at every moment it is the old one or the new one.
switch() {
    run ln -sfn "$1" "$2.new"
    run mv -T "$2.new" "$2"
}

wheels='' online='' board=x86-cpu cell=cell-0 bundle='' drop_ins='' root='' python=python3
dry_run='' uninstall='' purge=''
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage; exit 0 ;;
        --online) online=yes; shift ;;
        --dry-run) dry_run=yes; shift ;;
        --uninstall) uninstall=yes; shift ;;
        --purge) purge=yes; shift ;;
        --wheels | --board | --cell | --bundle | --drop-in | --root | --python)
            [ $# -ge 2 ] || fail "$1 needs a value; see --help" 2
            case $1 in
                --wheels) wheels=$2 ;;
                --board) board=$2 ;;
                --cell) cell=$2 ;;
                --bundle) bundle=$2 ;;
                --drop-in) drop_ins="$drop_ins $2" ;;
                --root) root=$2 ;;
                *) python=$2 ;;
            esac
            shift 2 ;;
        *) fail "unknown option $1; see --help" 2 ;;
    esac
done

if [ -n "$root" ]; then
    [ -n "$dry_run" ] || mkdir -p "$root"
    [ ! -d "$root" ] || root=$(cd "$root" && pwd)
    [ "$root" != / ] || root=
fi
here=$(cd "$(dirname "$0")" && pwd)
software=$root/opt/networld
settings=$root/etc/networld
units=$root/etc/systemd/system
accounts=$root/etc/sysusers.d
state=$root/var/lib/networld
cache=$root/var/cache/networld

# Only a real installation talks to the running system.
live=
if [ -z "$root" ]; then
    [ -n "$dry_run" ] || [ "$(id -u)" -eq 0 ] || fail "needs root, or --root DIR for a trial"
    [ ! -d /run/systemd/system ] || live=yes
fi

if [ -n "$uninstall" ]; then
    [ -z "$wheels$online" ] || fail "--uninstall takes neither --wheels nor --online" 2
    if [ -n "$live" ]; then
        run systemctl stop 'networld-agent@*' 'networld-adapt@*'
    fi
    step "removing software and units"
    for name in networld-agent@.service networld-adapt@.service networld-adapt@.timer; do
        run rm -rf "$units/$name" "$units/$name.d"
    done
    run rm -f "$accounts/networld.conf" "$units"/*.target.wants/networld-agent@*.service \
        "$units"/*.target.wants/networld-adapt@*.timer
    run rm -rf "$software/versions" "$software/current" "$software/previous"
    if [ -n "$purge" ]; then
        step "removing configuration, bundle and state"
        run rm -rf "$software" "$settings" "$state" "$root/var/lib/private/networld" "$cache"
    else
        step "kept: $settings, $state, $software/bundles (--purge removes them)"
    fi
    [ -z "$live" ] || run systemctl daemon-reload
    exit 0
fi
[ -z "$purge" ] || fail "--purge goes with --uninstall" 2

# All that can be wrong is looked at before anything is changed.
if [ -n "$online" ]; then
    [ -z "$wheels" ] || fail "--online or --wheels, not both" 2
else
    [ -n "$wheels" ] || fail "--wheels DIR is missing (or --online); see --help" 2
    [ -f "$wheels/SHA256SUMS" ] || fail "$wheels: no SHA256SUMS; make the folder with collect_wheels.sh"
    wheels=$(cd "$wheels" && pwd)
    (cd "$wheels" && sha256sum --check --quiet --strict SHA256SUMS) ||
        fail "$wheels: differs from its SHA256SUMS; copy or make it again"
fi
[ -f "$here/$board.toml" ] || fail "--board $board: no $here/$board.toml" 2
case $cell in
    *[!a-z0-9-]* | -* | '') fail "--cell $cell: expected a-z, 0-9 and -, first a letter or digit" 2 ;;
esac
for name in $drop_ins; do
    [ -f "$here/systemd/drop-ins/$name.conf" ] || fail "--drop-in $name: no such file in systemd/drop-ins" 2
done
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null ||
    fail "--python $python: not there, or older than Python 3.10"
"$python" -c 'import ensurepip, venv' 2> /dev/null ||
    fail "$python has no venv; on Debian and Ubuntu: apt install python3-venv"
if [ -z "$bundle" ] && [ ! -e "$software/bundles/current" ]; then
    bundle=$here/../bundles/networld
fi
[ -z "$bundle" ] || [ -f "$bundle/manifest.json" ] || fail "--bundle $bundle: no manifest.json in it"

# Software: a folder for each set of wheels and Python; one that is complete is not touched again.
python_version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ -n "$online" ]; then
    list=$here/requirements.txt
    [ "$python_version" != 3.10 ] || list=$here/requirements-python3.10.txt
    identity=online-$(date +%Y%m%d%H%M%S)
else
    list=$wheels/requirements.txt
    identity=$( (cat "$wheels/SHA256SUMS"; echo "$python_version") | sha256sum | cut -c 1-12)
fi
version=$software/versions/$identity
if [ -e "$version/.complete" ]; then
    step "software $identity is installed"
else
    step "installing software $identity"
    run rm -rf "$version"
    run mkdir -p "$software/versions"
    run "$python" -m venv "$version"
    if [ -n "$online" ]; then
        run "$version/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --only-binary=:all: --requirement "$list"
        run "$version/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$here/../runtime"
    else
        # --isolated: no setting of this computer turns the index on again.
        run "$version/bin/python" -m pip --isolated install --quiet --disable-pip-version-check --no-index \
            --no-deps --find-links "$wheels" --requirement "$list" networld-runtime
    fi
    run "$version/bin/networld-agent" --version
    run touch "$version/.complete"
fi
before=
[ ! -L "$software/current" ] || before=$(readlink "$software/current")
if [ "$before" != "versions/$identity" ]; then
    [ -z "$before" ] || switch "$before" "$software/previous"
    switch "versions/$identity" "$software/current"
fi
# The last but one can be gone back to; older ones only fill the disk.
for old in "$software"/versions/*; do
    [ -d "$old" ] || continue
    name=versions/$(basename "$old")
    if [ "$name" != "versions/$identity" ] && [ "$name" != "$(readlink "$software/previous" || true)" ] &&
        [ "$name" != "$before" ]; then
        run rm -rf "$old"
    fi
done

if [ -n "$bundle" ]; then
    digest=$(sha256sum "$bundle/manifest.json" | cut -c 1-12)
    if [ ! -d "$software/bundles/$digest" ]; then
        step "copying bundle $digest"
        run mkdir -p "$software/bundles"
        run rm -rf "$software/bundles/$digest.new"
        run cp -R "$bundle" "$software/bundles/$digest.new"
        run mv -T "$software/bundles/$digest.new" "$software/bundles/$digest"
    fi
    switch "$digest" "$software/bundles/current"
fi

step "units"
run mkdir -p "$units" "$accounts" "$settings"
for name in networld-agent@.service networld-adapt@.service networld-adapt@.timer; do
    if [ -n "$dry_run" ]; then
        echo "would write: $units/$name"
    else
        sed -e "s#/opt/networld/#$software/#g" -e "s#/etc/networld/#$settings/#g" \
            -e "s#/var/lib/networld/#$state/#g" "$here/systemd/$name" > "$units/$name.new"
        mv "$units/$name.new" "$units/$name"
    fi
done
for name in $drop_ins; do
    run mkdir -p "$units/networld-agent@.service.d"
    run cp "$here/systemd/drop-ins/$name.conf" "$units/networld-agent@.service.d/$name.conf"
done
run cp "$here/systemd/networld.sysusers.conf" "$accounts/networld.conf"
if [ -n "$live" ]; then
    run systemd-sysusers networld.conf
    run systemctl daemon-reload
fi

file=$settings/$cell.toml
if [ -e "$file" ]; then
    step "kept as it is: $file"
elif [ -n "$dry_run" ]; then
    echo "would write: $file"
else
    step "writing $file"
    # The cell changes places with cell-0 among the neighbours.
    sed -e "s#^name = \"cell-0\"#name = \"$cell\"#" -e "/^neighbours = /s#\"$cell\"#\"cell-0\"#" \
        -e "s#^path = .*#path = \"$software/bundles/current\"#" \
        -e "s#^directory = \"[^\"]*\"#directory = \"$state/$cell\"#" "$here/$board.toml" > "$file.new"
    mv "$file.new" "$file"
fi

[ -z "$dry_run" ] || exit 0
"$software/current/bin/networld-agent" check --config "$file" || exit 3
echo "next: edit site and neighbours in $file, then
  systemctl enable --now networld-agent@$cell"
