//! Writes what describes the command line to people and shells: `man/` has a page for each verb, the other folders have
//! completions. `make install` runs it.
//!
//! pages FOLDER

use std::path::PathBuf;
use std::{env, fs, io};

use clap::CommandFactory;
use clap_complete::Shell;
use command_line::Cli;

/// A shell, the folder of its completions here, and the name that it looks for.
const SHELLS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "bash", "lanner"),
    (Shell::Zsh, "zsh", "_lanner"),
    (Shell::Fish, "fish", "lanner.fish"),
];

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("usage: pages FOLDER"))?;
    let man = folder.join("man");
    fs::create_dir_all(&man)?;
    clap_mangen::generate_to(Cli::command(), &man)?;
    for (shell, name, file) in SHELLS {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "lanner", &mut text);
        fs::write(folder.join(file), text)?;
    }
    Ok(())
}
