//! Completions and the manual page, made of the definitions that the parser uses.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{CommandError, print};
use crate::cli::Cli;

/// Prints completions for a shell.
pub fn completions(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ftserver", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints the manual page, subcommands included.
pub fn man() -> Result<(), CommandError> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    for sub in command.get_subcommands() {
        section(sub, &mut page)?;
    }
    print(&String::from_utf8_lossy(&page))
}

/// Adds a section for a command, then those of its subcommands.
fn section(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    if command.get_name() == "help" {
        return Ok(());
    }
    let name = command.get_bin_name().unwrap_or(command.get_name());
    writeln!(page, ".SH {}", name.to_uppercase())?;
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.get_after_help().is_some() {
        man.render_extra_section(&mut text)?;
    }
    // Sections of the command become parts of its section.
    for line in String::from_utf8_lossy(&text).lines() {
        writeln!(
            page,
            "{}",
            line.strip_prefix(".SH ").map_or(line.to_owned(), |title| format!(".SS {title}"))
        )?;
    }
    command.get_subcommands().try_for_each(|sub| section(sub, page))
}
