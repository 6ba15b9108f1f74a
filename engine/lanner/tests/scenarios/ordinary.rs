//! Ordinary work raises nothing: a build, packages that are made and installed, jobs as cron runs them, a web
//! server and its client, a container that does nothing special.

use std::fmt::Write;
use test_support::{is_root, skipped};

use crate::stage::{Stage, podman, rules, usable};

const WORK: &str = r#"
cd $W
mkdir build; cd build
for i in 1 2 3 4; do echo "int f$i(void) { return $i; }" > f$i.c; done
printf 'int main(void) { return 0; }\n' > main.c
printf 'all: main.o f1.o f2.o f3.o f4.o\n\tcc -o all $^\n' > Makefile
make -s -j2
./all
cd ..

mkdir -p package/DEBIAN package/usr/bin package/etc root/var/lib/dpkg/updates root/var/lib/dpkg/info
printf 'Package: lanner-ordinary\nVersion: 1\nArchitecture: all\nMaintainer: n <n@localhost>\nDescription: x\n' \
	> package/DEBIAN/control
printf '#!/bin/sh\n:\n' > package/usr/bin/lanner-ordinary
echo x > package/etc/lanner-ordinary
chmod 755 package/usr/bin/lanner-ordinary
: > root/var/lib/dpkg/status
: > root/var/lib/dpkg/available
if command -v dpkg-deb; then
	dpkg-deb --build package package.deb
	dpkg --root=$W/root --force-not-root --log=/dev/null -i package.deb
	dpkg --root=$W/root --force-not-root --log=/dev/null -r lanner-ordinary
fi

mkdir -p cron.daily logs old
echo line > logs/app.log
cat > cron.daily/job <<JOB
#!/bin/sh
find $W/logs -name '*.log' -mtime -1 | while read f; do gzip -c "\$f" > $W/old/\$(basename "\$f").gz; done
cp -p /etc/passwd $W/old/; df / ; du -s $W; date; uptime; sort /etc/services | uniq | wc -l
tar -C $W -czf $W/old/backup.tgz build logs
rm -f $W/logs/app.log
JOB
chmod 755 cron.daily/job
if command -v run-parts; then run-parts $W/cron.daily; else $W/cron.daily/job; fi

if command -v git; then
	git init -q repository; cd repository; echo x > x; git add x
	git -c user.name=n -c user.email=e@localhost -c commit.gpgsign=false commit -q -m x; git log; cd ..
fi
if command -v python3; then
	python3 -c 'import json, subprocess, tempfile; subprocess.run(["ls", "/"]); tempfile.mkdtemp(dir=".")'
fi
ls -laR /etc/init.d; ps ax; id; hostname; cat /etc/hosts /etc/resolv.conf /proc/meminfo
"#;

fn work(driver: &str) {
    if !is_root() {
        skipped("ordinary work: containers need root");
        return;
    }
    if !usable(driver) {
        return;
    }
    let rules = rules();
    let mut stage = Stage::new();
    let folder = stage.folder().join("work");
    let mut script = format!(": > {}/mark-begin\n", stage.folder().display());
    let _ = writeln!(
        script,
        "mkdir {w}; (W={w}; {WORK}) >/dev/null",
        w = folder.display()
    );
    if let Some(image) = stage.image() {
        script.push_str(&podman(&image, &[], "cp /bin/busybox /tmp/x; true"));
        script.push('\n');
    }
    let alerts = stage.watch(driver, &rules, &script);
    let raised: Vec<String> = alerts
        .iter()
        .filter(|alert| alert.rule != "marker")
        .map(|alert| format!("{}: {}", alert.rule, alert.output))
        .collect();
    assert!(raised.is_empty(), "{driver}:\n{}", raised.join("\n"));
}

#[test]
fn ordinary_work_raises_nothing_with_core() {
    work("ebpf-core");
}

#[test]
fn ordinary_work_raises_nothing_with_legacy() {
    work("ebpf-legacy");
}

#[test]
fn ordinary_work_raises_nothing_with_ptrace() {
    work("ptrace");
}
