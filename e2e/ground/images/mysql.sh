#!/usr/bin/env bash
# Builds the root file system of a stock MySQL image from Debian's packages: mysql.sh OUT.tar
# Must not add anything of ours: server, client, certificates and the `mysql` user, no more.
set -euo pipefail
out=$1
# Sid's index is not always fresh on a mirror; its signature is still checked.
mmdebstrap --mode=root --variant=essential --format=tar \
  --aptopt='Acquire::Check-Valid-Until "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --include=mysql-server-core,mysql-client-core,ca-certificates \
  --customize-hook='echo "mysql:x:27:27:MySQL:/var/lib/mysql:/usr/sbin/nologin" >>"$1/etc/passwd"' \
  --customize-hook='echo "mysql:x:27:" >>"$1/etc/group"' \
  --customize-hook='install -d -m 0755 -o 27 -g 27 "$1/var/lib/mysql" "$1/var/run/mysqld"' \
  sid "$out"
