//! What commands can change so that a gap closes. Drivers put it beside the gap; `lanner drivers --fix` prints the commands.

use std::path::Path;

use crate::host::capability;

/// Something on the host, or about lanner itself, that commands can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// A parameter of the kernel (sysctl(8)).
    Sysctl {
        /// Its name.
        name: &'static str,
        /// The value that closes the gap.
        value: &'static str,
    },
    /// A file system that is not mounted, or that lanner cannot read.
    Mount {
        /// Its type, which is also its source.
        kind: &'static str,
        /// Its options.
        options: &'static str,
        /// Where it belongs.
        at: &'static str,
    },
    /// Capabilities that lanner needs, by number.
    Capabilities(Vec<u32>),
    /// A resource limit of lanner: its name in a unit of systemd, and its letter for ulimit.
    Unlimited {
        /// Such as `LimitMEMLOCK`.
        directive: &'static str,
        /// Such as `l`.
        ulimit: char,
    },
}

/// One way to close a gap: any one of the ways is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What it is for, and how long it lasts.
    pub effect: &'static str,
    /// The commands, for a root shell, in order.
    pub commands: Vec<String>,
}

/// What commands depend on besides the fix.
#[derive(Debug, Clone, Copy)]
pub struct FixFor<'a> {
    /// lanner's executable.
    pub program: &'a Path,
    /// Capabilities that other gaps of the driver need, too, bit by number. setcap(8) replaces what a file has, so all are
    /// given at once.
    pub capabilities: u64,
}

/// The folder of drop-ins for lanner's service.
const DROP_INS: &str = "/etc/systemd/system/lanner.service.d";

impl Fix {
    /// No limit for memory that lanner locks.
    pub const LOCKED_MEMORY: Self = Self::Unlimited {
        directive: "LimitMEMLOCK",
        ulimit: 'l',
    };

    /// The choice of Yama who may trace whom.
    pub const fn ptrace_scope(value: &'static str) -> Self {
        Self::Sysctl {
            name: "kernel.yama.ptrace_scope",
            value,
        }
    }

    /// Capabilities that it gives, bit by number.
    pub fn capabilities(&self) -> u64 {
        match self {
            Self::Capabilities(numbers) => numbers.iter().fold(0, |set, number| set | 1 << number),
            Self::Sysctl { .. } | Self::Mount { .. } | Self::Unlimited { .. } => 0,
        }
    }

    /// The ways to do it.
    pub fn ways(&self, of: &FixFor<'_>) -> Vec<Way> {
        match self {
            Self::Sysctl { name, value } => vec![
                Way {
                    effect: "until the next boot",
                    commands: vec![format!("sysctl -w {name}={value}")],
                },
                Way {
                    effect: "from the next boot on",
                    commands: vec![format!(
                        "echo '{name} = {value}' > /etc/sysctl.d/60-lanner-{}.conf",
                        name.replace(['.', '_'], "-")
                    )],
                },
            ],
            Self::Mount { kind, options, at } => vec![Way {
                effect: "until the next boot",
                commands: vec![format!(
                    "if mountpoint -q {at}; then mount -o remount,{options} {at}; else mount -t {kind} -o {options} {kind} {at}; fi"
                )],
            }],
            Self::Capabilities(_) => {
                let all = names(self.capabilities() | of.capabilities);
                let upper = all.join(" ").to_uppercase();
                vec![
                    Way {
                        effect: "for every user who may execute lanner",
                        commands: vec![format!(
                            "setcap {}+ep {}",
                            all.join(","),
                            quoted(&of.program.display().to_string())
                        )],
                    },
                    service(
                        "capabilities",
                        &format!("AmbientCapabilities={upper}\\nCapabilityBoundingSet={upper}\\n"),
                    ),
                ]
            }
            Self::Unlimited { directive, ulimit } => vec![
                Way {
                    effect: "for what this shell starts",
                    commands: vec![format!("ulimit -{ulimit} unlimited")],
                },
                service("limits", &format!("{directive}=infinity\\n")),
            ],
        }
    }
}

/// A drop-in for the service.
fn service(name: &str, lines: &str) -> Way {
    Way {
        effect: "for the service",
        commands: vec![
            format!("mkdir -p {DROP_INS}"),
            format!("printf '[Service]\\n{lines}' > {DROP_INS}/60-{name}.conf"),
            "systemctl daemon-reload".to_owned(),
            "systemctl restart lanner".to_owned(),
        ],
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The names of capabilities that drivers ask for, as setcap(8) takes them.
fn names(set: u64) -> Vec<&'static str> {
    const NAMES: [(u32, &str); 7] = [
        (capability::DAC_READ_SEARCH, "cap_dac_read_search"),
        (capability::IPC_LOCK, "cap_ipc_lock"),
        (capability::SYS_PTRACE, "cap_sys_ptrace"),
        (capability::SYS_ADMIN, "cap_sys_admin"),
        (capability::SYS_RESOURCE, "cap_sys_resource"),
        (capability::PERFMON, "cap_perfmon"),
        (capability::BPF, "cap_bpf"),
    ];
    let named = NAMES
        .into_iter()
        .filter(|(number, _)| set & (1 << number) != 0);
    named.map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(fix: &Fix, capabilities: u64) -> Vec<String> {
        let of = FixFor {
            program: Path::new("/opt/my tools/lanner"),
            capabilities,
        };
        fix.ways(&of)
            .into_iter()
            .flat_map(|way| way.commands)
            .collect()
    }

    #[test]
    fn capabilities_are_given_together_with_those_of_other_gaps() {
        let fix = Fix::Capabilities(vec![capability::BPF, capability::PERFMON]);
        let commands = commands(&fix, 1 << capability::SYS_PTRACE);
        assert_eq!(
            commands[0],
            "setcap cap_sys_ptrace,cap_perfmon,cap_bpf+ep '/opt/my tools/lanner'"
        );
        assert!(commands.iter().any(|line| line.contains("AmbientCapabilities=CAP_SYS_PTRACE CAP_PERFMON CAP_BPF")));
    }

    #[test]
    fn a_parameter_is_set_now_and_at_the_next_boot() {
        let fix = Fix::Sysctl {
            name: "kernel.yama.ptrace_scope",
            value: "1",
        };
        assert_eq!(
            commands(&fix, 0),
            [
                "sysctl -w kernel.yama.ptrace_scope=1",
                "echo 'kernel.yama.ptrace_scope = 1' > /etc/sysctl.d/60-lanner-kernel-yama-ptrace-scope.conf"
            ]
        );
    }

    #[test]
    fn a_file_system_is_mounted_or_mounted_again() {
        let mount = Fix::Mount {
            kind: "tracefs",
            options: "mode=755",
            at: "/sys/kernel/tracing",
        };
        let commands = commands(&mount, 0);
        assert!(commands[0].contains("mount -o remount,mode=755 /sys/kernel/tracing"));
        assert!(commands[0].contains("mount -t tracefs -o mode=755 tracefs /sys/kernel/tracing"));
    }
}
