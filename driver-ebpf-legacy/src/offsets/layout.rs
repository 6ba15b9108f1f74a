//! `struct offsets` of `bpf/offsets.h`: what the programs know of this kernel's structs.

use aya::Pod;

/// Bits of [`Offsets::have`]: groups of offsets that were found and verified.
pub(crate) mod have {
    pub(crate) const PATH: u32 = 1;
    pub(crate) const FD: u32 = 2;
    pub(crate) const EXE: u32 = 4;
    pub(crate) const CWD: u32 = 8;
    pub(crate) const STRINGS: u32 = 16;
    pub(crate) const SOCKET: u32 = 32;
    pub(crate) const V6: u32 = 64;
    pub(crate) const UNIX: u32 = 128;
    pub(crate) const EXIT: u32 = 256;
    pub(crate) const PARENT: u32 = 512;
    pub(crate) const CRED: u32 = 1024;
    pub(crate) const GROUPS: u32 = 2048;
    pub(crate) const TTY: u32 = 4096;
    pub(crate) const LOGINUID: u32 = 8192;
    pub(crate) const COMPAT: u32 = 16384;
    pub(crate) const REGS: u32 = 32768;
}

/// Offsets of fields, in bytes from the beginning of their struct. `offsets.h` describes each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Offsets {
    pub(crate) have: u32,
    pub(crate) task_status: u32,
    pub(crate) task_pid: u32,
    pub(crate) task_files: u32,
    pub(crate) task_fs: u32,
    pub(crate) task_mm: u32,
    pub(crate) task_real_parent: u32,
    pub(crate) task_exit_code: u32,
    pub(crate) task_cred: u32,
    pub(crate) task_signal: u32,
    pub(crate) task_loginuid: u32,
    pub(crate) files_fdt: u32,
    pub(crate) file_path: u32,
    pub(crate) file_private: u32,
    pub(crate) dentry_parent: u32,
    pub(crate) mount_mnt: u32,
    pub(crate) mm_args: u32,
    pub(crate) mm_exe: u32,
    pub(crate) fs_pwd: u32,
    pub(crate) socket_file: u32,
    pub(crate) sock_protocol: u32,
    pub(crate) sock_protocol_size: u32,
    pub(crate) sock_v6: u32,
    pub(crate) unix_addr: u32,
    pub(crate) unix_peer: u32,
    pub(crate) address_name: u32,
    pub(crate) cred_uid: u32,
    pub(crate) groups: u32,
    pub(crate) groups_in_task: u32,
    pub(crate) groups_stride: u32,
    pub(crate) pid_nr: u32,
    pub(crate) signal_tty: u32,
    pub(crate) tty_driver: u32,
    pub(crate) tty_index: u32,
    pub(crate) driver_major: u32,
    pub(crate) task_stack: u32,
    pub(crate) stack_regs: u32,
    pub(crate) newtask_pid: u32,
    pub(crate) newtask_flags: u32,
    pub(crate) exec_old_pid: u32,
    pub(crate) signal_handler: u32,
    pub(crate) signal_flags: u32,
}

// SAFETY: numbers of one size without padding; every bit pattern is valid.
unsafe impl Pod for Offsets {}

impl Offsets {
    /// Whether all of these groups were found.
    pub(crate) fn has(&self, bits: u32) -> bool {
        self.have & bits == bits
    }
}

/// An offset in a struct as [`Offsets`] keeps it. Structs are small: the conversion never fails.
pub(super) fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = include_str!("../../bpf/offsets.h");

    #[test]
    fn the_struct_has_the_fields_of_the_header_in_its_order() {
        let theirs: Vec<&str> = HEADER
            .lines()
            .filter_map(|line| line.trim().strip_prefix("__u32 ")?.split(';').next())
            .collect();
        let ours = format!("{:?}", Offsets::default());
        let fields = ours
            .strip_prefix("Offsets { ")
            .and_then(|text| text.strip_suffix(" }"));
        let ours: Vec<&str> = fields
            .expect("fields")
            .split(", ")
            .filter_map(|field| field.split(':').next())
            .collect();
        assert_eq!(ours, theirs);
        assert_eq!(size_of::<Offsets>(), 4 * theirs.len());
    }

    #[test]
    fn the_bits_are_those_of_the_header() {
        let source = include_str!("layout.rs");
        let mut compared = 0;
        for line in HEADER.lines() {
            let Some((name, value)) = line
                .trim()
                .strip_prefix("HAVE_")
                .and_then(|l| l.split_once(" = "))
            else {
                continue;
            };
            let value = value.split(',').next().unwrap_or_default();
            assert!(
                source.contains(&format!("const {name}: u32 = {value};")),
                "{name} = {value}"
            );
            compared += 1;
        }
        assert_eq!(compared, 16);
    }
}
