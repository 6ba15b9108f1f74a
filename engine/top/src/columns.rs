//! The columns of the panes.

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// Cells. 0: what is left.
    pub(crate) width: u16,
    /// The narrowest screen that has it.
    pub(crate) from: u16,
    /// Numbers are at the right, and greater ones come first.
    pub(crate) is_number: bool,
    /// The end of a text says more than its beginning.
    pub(crate) is_path: bool,
}

const fn numbers(title: &'static str, width: u16, from: u16) -> Column {
    Column {
        title,
        width,
        from,
        is_number: true,
        is_path: false,
    }
}

const fn words(title: &'static str, width: u16, from: u16) -> Column {
    Column {
        title,
        width,
        from,
        is_number: false,
        is_path: false,
    }
}

pub(crate) const PROCESSES: &[Column] = &[
    numbers("PID", 8, 0),
    words("USER", 10, 100),
    numbers("EV/S", 8, 0),
    numbers("EVENTS", 10, 60),
    numbers("ERRORS", 9, 70),
    numbers("ALERTS", 7, 80),
    words("CONTAINER", 16, 120),
    words("COMMAND", 0, 0),
];
pub(crate) const ALERTS: &[Column] = &[
    words("PRIORITY", 13, 60),
    numbers("COUNT", 9, 0),
    numbers("PER S", 7, 60),
    words("LAST", 9, 70),
    words("RULE", 0, 0),
];
pub(crate) const CALLS: &[Column] = &[
    numbers("CALLS/S", 9, 0),
    numbers("CALLS", 11, 0),
    numbers("ERRORS", 10, 50),
    numbers("MEAN", 9, 60),
    numbers("LONGEST", 9, 70),
    words("CALL", 0, 0),
];
pub(crate) const FILES: &[Column] = &[
    numbers("EV/S", 8, 0),
    numbers("EVENTS", 10, 60),
    numbers("ERRORS", 9, 80),
    numbers("READ", 7, 50),
    numbers("WRITTEN", 8, 50),
    Column {
        is_path: true,
        ..words("FILE", 0, 0)
    },
];
pub(crate) const CONNECTIONS: &[Column] = &[
    numbers("EV/S", 8, 0),
    numbers("EVENTS", 10, 60),
    numbers("ERRORS", 9, 80),
    numbers("READ", 7, 70),
    numbers("WRITTEN", 8, 70),
    words("CONNECTION", 0, 0),
];
pub(crate) const CONTAINERS: &[Column] = &[
    words("ID", 13, 0),
    words("RUNTIME", 11, 90),
    numbers("EV/S", 8, 0),
    numbers("EVENTS", 10, 60),
    numbers("ALERTS", 7, 50),
    words("IMAGE", 30, 100),
    words("NAME", 0, 0),
];
pub(crate) const LOSSES: &[Column] = &[
    numbers("LOST", 11, 0),
    numbers("PER S", 9, 0),
    words("CAUSE", 0, 0),
];
