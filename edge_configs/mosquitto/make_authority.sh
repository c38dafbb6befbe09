#!/bin/sh
# Makes a certificate authority for trials and small sites, and certificates of the broker, of cells, radio and operator.
set -eu
# Private keys are their owner's alone from the first byte on.
umask 077
# a-z means these 26 letters.
export LC_ALL=C

usage() {
    cat <<END
usage: make_authority.sh --output DIR [--broker NAME]... [--days N] [NAME]...
       make_authority.sh --output DIR --revoke NAME

Makes the authority if DIR has none, and signs what is named: NAME.crt and NAME.key for each cell, the radio and the
operator, named as the broker is to know them, and broker.crt and broker.key. Never overwrites a file. Run it again to
add certificates later.

  --output DIR      folder of the authority and of all it makes; keep authority.key there, offline if you can
  --broker NAME     host name or IP address of the broker, as cells call it; may be repeated
  --days N          validity of what is signed (default: 365, at most 825); the authority's own is ten years
  --revoke NAME     add a certificate to authority.crl, which the broker reads (crlfile)
  --help            show this

exit codes:
  0 success   1 failed, nothing was made   2 usage

example:
  edge_configs/mosquitto/make_authority.sh --output pki --broker broker.example --broker 192.0.2.7 cell-0 cell-1 radio operator
END
}

fail() {
    echo "make_authority.sh: $1" >&2
    exit "${2:-1}"
}

# Runs openssl, which says much on success; what it says is shown when it fails.
quietly() {
    if ! "$@" > "$work/said" 2>&1; then
        cat "$work/said" >&2
        fail "openssl failed"
    fi
}

# Whether $1 is the name of a cell or another user: the broker puts it into the patterns of site.acl.
is_name() {
    case $1 in
        '' | -* | *[!a-z0-9-]*) return 1 ;;
        *) [ ${#1} -le 32 ] ;;
    esac
}

# Whether $1 is an IP address: of digits and dots alone, or with a colon.
is_address() {
    case $1 in
        *:*) return 0 ;;
        *[!0-9.]*) return 1 ;;
        *) return 0 ;;
    esac
}

# Signs a new key: file name $1, subject $2, days $3, lines of extensions on standard input.
sign() {
    {
        echo 'basicConstraints = critical, CA:FALSE'
        echo 'keyUsage = critical, digitalSignature'
        echo 'subjectKeyIdentifier = hash'
        echo 'authorityKeyIdentifier = keyid'
        cat
    } > "$work/extensions"
    quietly openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 \
        -subj "/CN=$2" -keyout "$work/$1.key" -out "$work/request"
    quietly openssl x509 -req -in "$work/request" -sha256 -days "$3" -set_serial "0x$(openssl rand -hex 16)" \
        -CA "$authority.crt" -CAkey "$authority.key" -extfile "$work/extensions" -out "$work/$1.crt"
}

# Writes what `openssl ca` needs to keep the list of revoked certificates; $work/index is its database.
write_database() {
    cat > "$work/database" <<END
[ca]
default_ca = authority
[authority]
database = $output/authority.index
crlnumber = $output/authority.crlnumber
default_md = sha256
default_crl_days = 3650
certificate = $output/authority.crt
private_key = $output/authority.key
unique_subject = no
[list]
authorityKeyIdentifier = keyid
END
}

write_list() {
    quietly openssl ca -config "$work/database" -gencrl -crlexts list -out "$work/authority.crl"
    chmod 644 "$work/authority.crl"
    mv "$work/authority.crl" "$output/authority.crl"
}

output='' days=365 revoked='' brokers='' names=''
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage; exit 0 ;;
        --output | --broker | --days | --revoke)
            [ $# -ge 2 ] || fail "$1 needs a value; see --help" 2
            case $1 in
                --output) output=$2 ;;
                --days) days=$2 ;;
                --revoke) revoked=$2 ;;
                *) brokers="$brokers $2" ;;
            esac
            shift 2
            ;;
        -*) fail "$1 is unknown; see --help" 2 ;;
        *)
            is_name "$1" || fail "$1: expected a name, 1 to 32 of a-z, 0-9 and -, first a letter or digit" 2
            case $1 in
                authority | broker) fail "$1 is not a name for a cell: its file is another's; choose another" 2 ;;
            esac
            case " $names " in
                *" $1 "*) fail "$1 is named twice" 2 ;;
            esac
            names="$names $1"
            shift
            ;;
    esac
done
[ -n "$output" ] || fail "--output is missing; see --help" 2
[ -n "$brokers$names$revoked" ] || fail "nothing to make: give --broker or names; see --help" 2
[ -z "$revoked" ] || [ -z "$brokers$names" ] || fail "--revoke makes nothing; give it alone" 2
case $days in
    *[!0-9]* | '' | ????*) fail "--days $days: expected a whole number, 1 to 825" 2 ;;
esac
if [ "$days" -lt 1 ] || [ "$days" -gt 825 ]; then
    fail "--days $days: expected a whole number, 1 to 825" 2
fi
for name in $brokers; do
    case $name in
        *[!a-zA-Z0-9.:-]*) fail "--broker $name: expected a host name or an IP address" 2 ;;
    esac
done
command -v openssl > /dev/null || fail "openssl is not installed: apt-get install openssl"

mkdir -p "$output" || fail "$output cannot be made"
output=$(cd "$output" && pwd)
work=$(mktemp -d "$output/.making.XXXXXX") || fail "$output cannot be written"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
authority=$output/authority
write_database

if [ -n "$revoked" ]; then
    is_name "$revoked" || fail "--revoke $revoked: expected the name of a certificate" 2
    [ -f "$output/$revoked.crt" ] || fail "$output/$revoked.crt does not exist"
    quietly openssl ca -config "$work/database" -revoke "$output/$revoked.crt"
    write_list
    echo "revoked: $revoked; give $output/authority.crl to the broker and restart it"
    exit 0
fi

# All obstacles first, so that a refusal leaves nothing half done.
[ -z "$brokers" ] || made=' broker'
made="${made:-}$names"
for name in $made; do
    for file in "$output/$name.crt" "$output/$name.key"; do
        [ ! -e "$file" ] || fail "$file exists already, and nothing was made; move it away first"
    done
done
if [ -e "$authority.crt" ] && [ ! -e "$authority.key" ]; then
    fail "$authority.key is missing: bring it here, or choose another --output"
fi
if [ ! -e "$authority.crt" ] && [ -e "$authority.key" ]; then
    fail "$authority.key has no certificate beside it; move it away, or choose another --output"
fi

if [ ! -e "$authority.crt" ]; then
    quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
        -subj "/CN=NetWorld authority" -keyout "$work/authority.key" -out "$work/authority.crt" \
        -addext 'basicConstraints = critical, CA:TRUE, pathlen:0' \
        -addext 'keyUsage = critical, keyCertSign, cRLSign'
    mv "$work/authority.key" "$authority.key"
    chmod 644 "$work/authority.crt"
    mv "$work/authority.crt" "$authority.crt"
    : > "$output/authority.index"
    echo 01 > "$output/authority.crlnumber"
    write_list
fi

if [ -n "$brokers" ]; then
    subject='' alternatives=''
    for name in $brokers; do
        : "${subject:=$name}"
        kind=DNS
        ! is_address "$name" || kind=IP
        alternatives="$alternatives${alternatives:+, }$kind:$name"
    done
    # A cell's certificate is no broker's, nor a broker's a cell's.
    sign broker "$subject" "$days" <<END
extendedKeyUsage = serverAuth
subjectAltName = $alternatives
END
fi
for name in $names; do
    echo 'extendedKeyUsage = clientAuth' | sign "$name" "$name" "$days"
done
for name in $made; do
    chmod 644 "$work/$name.crt"
    mv "$work/$name.key" "$output/$name.key"
    mv "$work/$name.crt" "$output/$name.crt"
    echo "made: $output/$name.crt, $output/$name.key"
done
echo "every client and the broker get $authority.crt; $authority.key stays with you"
