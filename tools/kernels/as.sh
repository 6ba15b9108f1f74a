#!/bin/busybox sh
# as PRIVILEGE COMMAND: root, user (uid 1000 without capabilities), or capabilities for uid 1000, such as +bpf,+perfmon.
privilege=$1
shift
case $privilege in
root) exec "$@" ;;
user) exec /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps -all --bounding-set -all "$@" ;;
*) exec /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps "$privilege" --ambient-caps "$privilege" "$@" ;;
esac
