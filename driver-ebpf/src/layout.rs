//! What the programs of both eBPF drivers share with user space. `bpf/ebpf_layout.h` says the same in C; it is generated
//! from this file (`make header`).

/// What a followed thread waits for: a value of the map `followed`, whose keys are thread ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Follow {
    /// Its calls are captured from its next exec on.
    Armed = 1,
    /// Its calls are captured.
    Active = 2,
}

/// A bit of an event's flags, which does not leave the driver. Of a call: a signal handler decides how it ends. Of a
/// signal: a handler is about to run.
pub const FLAG_OPEN: u16 = 0x8000;
/// A bit of an open event's flags. Of a call: it returned ERESTARTSYS. Of a signal: the handler has `SA_RESTART`.
pub const FLAG_OPEN_RESTARTS: u16 = 0x4000;
