#!/bin/sh
# Makes certificates for trying out what docs/certificates.md says about an authority of your own: an authority, a serving
# certificate of the webhooks, and a client certificate of the API server. They are for development: the keys stand in
# files that nothing protects, and everything expires after 30 days.
#
#   certs/make-dev-certs.sh DIRECTORY [SERVICE [NAMESPACE]]
#
# writes ca.crt, ca.key, tls.crt, tls.key, client.crt and client.key. Run again with the same directory, it keeps the
# authority and makes the two certificates anew. It needs openssl, 1.1.1 or later.
set -eu

if [ $# -lt 1 ] || [ $# -gt 3 ]; then
    echo "usage: $0 DIRECTORY [SERVICE [NAMESPACE]]" >&2
    exit 2
fi
directory=$1
service=${2:-atomix-controller}
namespace=${3:-kube-system}
days=30

umask 077
mkdir -p "$directory"
cd "$directory"

key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

# sign NAME SUBJECT EXTENSIONS: NAME.crt and NAME.key.
sign() {
    key "$1.key"
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n%s\n' "$3" >"$1.ext"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16 | sed 's/^./1/')" \
        -days "$days" -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    rm "$1.csr" "$1.ext"
}

if [ ! -f ca.crt ]; then
    key ca.key
    openssl req -x509 -new -key ca.key -days "$days" -subj "/CN=development $(openssl rand -hex 4)" \
        -addext keyUsage=critical,keyCertSign,cRLSign -out ca.crt
fi
names="DNS:$service.$namespace.svc,DNS:$service.$namespace.svc.cluster.local,DNS:$service.$namespace,DNS:$service"
sign tls "/CN=$service" "extendedKeyUsage=serverAuth
subjectAltName=$names"
sign client "/CN=kube-apiserver" "extendedKeyUsage=clientAuth"
openssl verify -CAfile ca.crt tls.crt client.crt >&2
